"""Functions that Python calls directly, as LLVM text next to the kernels.

An entry has the C signature of METH_FASTCALL: it takes Python objects apart, runs one kernel and makes Python objects of the
results. All of CPython that it uses comes through the table `@python`, which the loader fills (`TABLE` says with what), so
that the text names no symbol outside itself and its object code can be kept in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradlang.backend.llvm_ops import Unit
from gradlang.backend.llvm_python import GLUE, ROW, VIEW, common, row_constant, slot, text_constant
from gradlang.loops.ir import Buffer, Kernel, Value

KINDS = {"i": ("int64", 8, "l", "q"), "s": ("int32", 4, "i", "l"), "b": ("bool", 1, "?", "?")}  # letters of the formats
REALS = {"f64": ("float64", 8, "d", "d"), "f32": ("float32", 4, "f", "f")}
RELEASE_AT = 50_000  # nanoseconds of work from which other threads may run meanwhile
Returns = int | tuple["Returns", ...] | dict[str, "Returns"] | None


@dataclass(frozen=True, eq=False)
class Entry:
    """How a kernel is called from Python.

    Positional arguments, in order: for each buffer of the kernel an array, or its entries as single numbers if it is in
    `packed`, or nothing if it is in `results`; then its sizes as ints, its numbers as floats, and at the end an int, the
    estimated work in nanoseconds, if `works`. Single numbers and results lie in arrays of the kernel's own on the stack, with
    as many entries as given here. `lengths` has for each buffer the fewest entries that its array must have, as factors;
    a size that is a factor must not be negative. `returns` is built of results, which are counted through all buffers.
    """

    name: str
    kernel: Kernel
    lengths: dict[Buffer, tuple[int | Value, ...]] = field(default_factory=dict)
    packed: dict[Buffer, int] = field(default_factory=dict)
    results: dict[Buffer, int] = field(default_factory=dict)
    returns: Returns = None
    works: bool = False

    def labels(self) -> list[str]:
        """The keys of the dicts of the result, in the order of the table that the loader fills."""
        found: dict[str, None] = {}
        waiting = [self.returns]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                found.update(dict.fromkeys(part))
            waiting += part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else ()
        return list(found)

    def keys_symbol(self) -> str:
        return f"keys.{self.name}"

    def tables(self) -> dict[str, list[str]]:
        """The tables that the loader fills with texts, by their names."""
        labels = self.labels()
        return {self.keys_symbol(): labels} if labels else {}

    def text(self, unit: Unit) -> str:
        return EntryText(unit, self).run()


class EntryText:
    """Writes one entry."""

    def __init__(self, unit: Unit, entry: Entry) -> None:
        self.unit, self.entry, self.kernel = unit, entry, entry.kernel
        self.constants: list[str] = []
        self.slots: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.taken = 0  # arguments
        self.views = 0  # arrays
        self.sizes: dict[Value, str] = {}

    # ------------------------------------------------------------ writing
    def fresh(self, stem: str = "%t") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def emit(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def python(self, name: str, kind: str, *args: str) -> str:
        """The call of a function of the C API; arguments with their types."""
        function = self.emit(f"load ptr, ptr {slot(name)}")
        call = f"call {kind} {function}({', '.join(args)})"
        if kind == "void":
            self.lines.append(f"  {call}")
            return ""
        return self.emit(call)

    def unless(self, bad: str, to: str = "fail") -> None:
        """Go on unless a condition holds."""
        label = self.fresh("go")
        self.lines += [f"  br i1 {bad}, label %{to}, label %{label}", f"{label}:"]

    def constant(self, text: str) -> str:
        name = f"text.{self.entry.name}.{len(self.constants)}"
        self.constants.append(text_constant(name, text))
        return f"@{name}"

    # ---------------------------------------------------------- arguments
    def argument(self) -> str:
        at = self.emit(f"getelementptr inbounds ptr, ptr %args, i64 {self.taken}")
        self.taken += 1
        return self.emit(f"load ptr, ptr {at}")

    def checked(self, value: str, kind: str, sign: str) -> str:
        """A number that Python gave: minus one may say that there is an exception."""
        suspect, fine = self.fresh("suspect"), self.fresh("go")
        minus = self.emit(f"{sign} {kind} {value}, {'-1.0' if kind == 'double' else '-1'}")
        self.lines += [f"  br i1 {minus}, label %{suspect}, label %{fine}", f"{suspect}:"]
        error = self.python("PyErr_Occurred", "ptr")
        none = self.emit(f"icmp eq ptr {error}, null")
        self.lines += [f"  br i1 {none}, label %{fine}, label %fail", f"{fine}:"]
        return value

    def whole(self) -> str:
        exception = self.emit(f"load ptr, ptr {slot('OverflowError')}")
        given = self.argument()
        return self.checked(self.python("PyNumber_AsSsize_t", "i64", f"ptr {given}", f"ptr {exception}"), "i64", "icmp eq")

    def real(self) -> str:
        given = self.argument()
        value = self.checked(self.python("PyFloat_AsDouble", "double", f"ptr {given}"), "double", "fcmp oeq")
        return value if self.unit.width == "f64" else self.emit(f"fptrunc double {value} to float")

    def truth(self) -> str:
        given = self.argument()
        value = self.checked(self.python("PyObject_IsTrue", "i32", f"ptr {given}"), "i32", "icmp eq")
        return self.emit(f"trunc i32 {value} to i8")

    def stack(self, buffer: Buffer, count: int) -> str:
        name = self.fresh("%stack")
        self.slots.append(f"  {name} = alloca [{max(count, 1)} x {self.unit.stored[buffer.kind]}], align 32")
        return name

    def single(self, buffer: Buffer, count: int) -> str:
        """Numbers that are given one by one, as an array."""
        name, kind = self.stack(buffer, count), self.unit.stored[buffer.kind]
        for k in range(count):
            value = self.real() if buffer.kind == "f" else self.truth() if buffer.kind == "b" else self.whole()
            if buffer.kind == "s":
                value = self.emit(f"trunc i64 {value} to i32")
            at = self.emit(f"getelementptr inbounds {kind}, ptr {name}, i64 {k}")
            self.lines.append(f"  store {kind} {value}, ptr {at}")
        return name

    def needed(self, buffer: Buffer) -> str:
        total = "1"
        self.unit.declared["declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)"] = None
        for factor in self.entry.lengths[buffer]:
            text = str(factor) if isinstance(factor, int) else self.sizes[factor]
            if total == "1":
                total = text
                continue
            both = self.emit(f"call {{i64, i1}} @llvm.smul.with.overflow.i64(i64 {total}, i64 {text})")
            over = self.emit(f"extractvalue {{i64, i1}} {both}, 1")
            product = self.emit(f"extractvalue {{i64, i1}} {both}, 0")
            total = self.emit(f"select i1 {over}, i64 {2**63 - 1}, i64 {product}")
        return total

    def arrays(self, objects: Sequence[tuple[Buffer, int]]) -> list[str]:
        """The addresses of the data of buffers that are given as arguments of these numbers."""
        many = self.views = len(objects)
        if not many:
            return []
        rows = []
        for buffer, at in objects:
            name, *rest = REALS[self.unit.width] if buffer.kind == "f" else KINDS[buffer.kind]
            size, first, second = (n if isinstance(n, int) else ord(str(n)) for n in rest)
            texts = self.constant(buffer.name), self.constant(name)
            rows.append(row_constant(at, name, size, first, second, int(buffer.writable), *texts))
        table, needs = f"@rows.{self.entry.name}", f"@needs.{self.entry.name}"
        self.constants.append(f"{table} = internal constant [{many} x {ROW}] [ {', '.join(rows)} ]")
        needed = [self.needed(buffer) for buffer, _ in objects]
        if all(text.isdecimal() for text in needed):
            self.constants.append(f"{needs} = internal constant [{many} x i64] [ {', '.join(f'i64 {n}' for n in needed)} ]")
        else:
            needs = self.fresh("%needs")
            self.slots.append(f"  {needs} = alloca [{many} x i64]")
            for k, text in enumerate(needed):
                place = self.emit(f"getelementptr inbounds i64, ptr {needs}, i64 {k}")
                self.lines.append(f"  store i64 {text}, ptr {place}")
        self.slots += [f"  %views = alloca [{many} x [{VIEW} x i8]], align 8", f"  %outs = alloca [{many} x ptr]"]
        given = ["ptr %args", f"ptr {table}", f"ptr {needs}", f"i64 {many}", "ptr %views", "ptr %outs"]
        status = self.python("arrays", "i32", *given)
        self.unless(self.emit(f"icmp ne i32 {status}, 0"))
        return [self.emit(f"load ptr, ptr {self.emit(f'getelementptr inbounds ptr, ptr %outs, i64 {k}')}") for k in range(many)]

    # ------------------------------------------------------------ results
    def leaf(self, k: int, places: Sequence[tuple[Buffer, str, int]]) -> str:
        """A new Python number of the k-th result."""
        buffer, name, at = places[k]
        kind = self.unit.stored[buffer.kind]
        value = self.emit(f"load {kind}, ptr {self.emit(f'getelementptr inbounds {kind}, ptr {name}, i64 {at}')}")
        if buffer.kind == "f":
            if kind == "float":
                value = self.emit(f"fpext float {value} to double")
            return self.python("PyFloat_FromDouble", "ptr", f"double {value}")
        if buffer.kind == "b":
            return self.python("PyBool_FromLong", "ptr", f"i64 {self.emit(f'zext i8 {value} to i64')}")
        if buffer.kind == "s":
            value = self.emit(f"sext i32 {value} to i64")
        return self.python("PyLong_FromSsize_t", "ptr", f"i64 {value}")

    def made(self, part: Returns, places: Sequence[tuple[Buffer, str, int]]) -> str:
        if isinstance(part, int):
            return self.leaf(part, places)
        if isinstance(part, tuple):
            return self.python("PyTuple_New", "ptr", f"i64 {len(part)}")
        return self.python("PyDict_New", "ptr")

    def result(self, places: Sequence[tuple[Buffer, str, int]]) -> str:
        """Containers first, each put into its own one before it is filled: so whatever fails, the outermost holds all."""
        entry = self.entry
        if entry.returns is None:
            none = self.emit(f"load ptr, ptr {slot('None')}")
            self.python("Py_IncRef", "void", f"ptr {none}")
            return none
        whole = self.made(entry.returns, places)
        self.unless(self.emit(f"icmp eq ptr {whole}, null"), "nothing")
        waiting: list[tuple[str, Returns]] = [(whole, entry.returns)]
        self.lines.append(f"  store ptr {whole}, ptr %whole")
        while waiting:
            holder, parts = waiting.pop()
            if isinstance(parts, tuple):
                for k, part in enumerate(parts):
                    new = self.made(part, places)
                    self.unless(self.emit(f"icmp eq ptr {new}, null"), "drop")
                    self.put(holder, parts, k, new)
                    waiting.append((new, part))
            elif isinstance(parts, dict):
                waiting += self.fill(holder, parts, places)
        return whole

    def put(self, holder: str, parts: tuple[Returns, ...], k: int, new: str) -> None:
        """Puts a part of a tuple into it."""
        status = self.python("PyTuple_SetItem", "i32", f"ptr {holder}", f"i64 {k}", f"ptr {new}")
        self.unless(self.emit(f"icmp ne i32 {status}, 0"), "drop")

    def fill(
        self, holder: str, parts: dict[str, Returns], places: Sequence[tuple[Buffer, str, int]]
    ) -> list[tuple[str, Returns]]:
        """Puts the parts of a dict into it; gives what was put there."""
        entry, made = self.entry, []
        keys = {key: k for k, key in enumerate(entry.labels())}
        for name, part in parts.items():
            new = self.made(part, places)
            self.unless(self.emit(f"icmp eq ptr {new}, null"), "drop")
            at = self.emit(f"getelementptr inbounds ptr, ptr @{entry.keys_symbol()}, i64 {keys[name]}")
            key = self.emit(f"load ptr, ptr {at}")
            status = self.python("PyDict_SetItem", "i32", f"ptr {holder}", f"ptr {key}", f"ptr {new}")
            self.python("Py_DecRef", "void", f"ptr {new}")
            self.unless(self.emit(f"icmp ne i32 {status}, 0"), "drop")
            made.append((new, part))
        return made

    # -------------------------------------------------------------- whole
    def arguments(self) -> tuple[list[str], list[tuple[Buffer, str, int]], str]:
        """What the kernel is given, the places of the results, and the work. Sizes are read before the arrays, since
        the lengths of these depend on them."""
        entry, kernel = self.entry, self.kernel
        places: list[tuple[Buffer, str, int]] = []
        given: dict[Buffer, str] = {}
        objects: list[tuple[Buffer, int]] = []
        for b in kernel.buffers:
            if b in entry.results:
                given[b] = self.stack(b, entry.results[b])
                places += [(b, given[b], k) for k in range(entry.results[b])]
            elif b in entry.packed:
                given[b] = self.single(b, entry.packed[b])
            else:
                objects.append((b, self.taken))
                self.taken += 1
        factors = {f for parts in entry.lengths.values() for f in parts if isinstance(f, Value)}
        for size in kernel.sizes:
            self.sizes[size] = self.whole()
            if size in factors:
                self.nonnegative(size)
        numbers = [self.real() for _ in kernel.numbers]
        work = self.whole() if entry.works else ""
        given |= zip([b for b, _ in objects], self.arrays(objects), strict=True)
        passed = [f"ptr {given[b]}" for b in kernel.buffers] + [f"i64 {self.sizes[s]}" for s in kernel.sizes]
        return [*passed, *(f"{self.unit.real} {n}" for n in numbers)], places, work

    def nonnegative(self, size: Value) -> None:
        bad, good = self.fresh("bad"), self.fresh("go")
        negative = self.emit(f"icmp slt i64 {self.sizes[size]}, 0")
        self.lines += [f"  br i1 {negative}, label %{bad}, label %{good}", f"{bad}:"]
        self.error("ValueError", "@negative", f"ptr {self.constant(size.hint or 'size')}")
        self.lines += ["  br label %fail", f"{good}:"]

    def error(self, exception: str, message: str, *args: str) -> None:
        function = self.emit(f"load ptr, ptr {slot('PyErr_Format')}")
        kind = self.emit(f"load ptr, ptr {slot(exception)}")
        self.emit(f"call ptr (ptr, ptr, ...) {function}({', '.join([f'ptr {kind}', f'ptr {message}', *args])})")

    def run(self) -> str:
        entry = self.entry
        given, places, work = self.arguments()
        call = f"  call void @{self.kernel.name}({', '.join(given)})"
        if work:
            long, ready, again, done = (self.fresh(label) for label in ("long", "ready", "again", "done"))
            before = self.emit(f"icmp sge i64 {work}, {RELEASE_AT}")
            here = self.fresh("here")
            self.lines += [f"  br label %{here}", f"{here}:", f"  br i1 {before}, label %{long}, label %{ready}", f"{long}:"]
            state = self.python("PyEval_SaveThread", "ptr")
            self.lines += [f"  br label %{ready}", f"{ready}:"]
            saved = self.emit(f"phi ptr [ null, %{here} ], [ {state}, %{long} ]")
            self.lines += [call, f"  br i1 {before}, label %{again}, label %{done}", f"{again}:"]
            self.python("PyEval_RestoreThread", "void", f"ptr {saved}")
            self.lines += [f"  br label %{done}", f"{done}:"]
        else:
            self.lines.append(call)
        if self.views:
            self.python("release", "void", "ptr %views", f"i64 {self.views}")
        self.lines.append(f"  ret ptr {self.result(places)}")
        body = self.lines
        self.lines = ["miscounted:"]
        self.error("TypeError", "@wrong.count", f"i64 {self.taken}", "i64 %count")
        self.lines += ["  ret ptr null", "fail:", "  ret ptr null", *self.dropped()]
        head = [
            f"define dso_local ptr @{entry.name}(ptr %self, ptr %args, i64 %count) {GLUE} {{",
            *("entry:", "  %whole = alloca ptr", *self.slots, f"  %counted = icmp eq i64 %count, {self.taken}"),
            *("  br i1 %counted, label %start, label %miscounted", "start:"),
        ]
        return "\n".join([*self.globals(), *head, *body, *self.lines]) + "\n"

    def dropped(self) -> list[str]:
        """The end of a function, where a result that was begun is let go."""
        lines = ["drop:", f"  %dropped = load ptr, ptr %whole\n  %drops = load ptr, ptr {slot('Py_DecRef')}"]
        return [*lines, "  call void %drops(ptr %dropped)", "  br label %nothing", "nothing:", "  ret ptr null", "}"]

    def globals(self) -> list[str]:
        tables = [
            f"@{name} = dso_local global [{len(texts)} x ptr] zeroinitializer" for name, texts in self.entry.tables().items()
        ]
        return [*tables, *self.constants]


def entries_text(unit: Unit, entries: Sequence[Entry]) -> str:
    """The text of entries, to be put into the unit of their kernels."""
    return "\n".join([common(), *(e.text(unit) for e in entries)]) if entries else ""
