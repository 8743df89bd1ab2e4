"""Functions of numbers that Python calls with keywords, as LLVM text.

An entry has the C signature of METH_FASTCALL | METH_KEYWORDS. Its first argument is a function that takes over whatever machine
code does not do: values that are no floats, names that are not known, arguments by position, arguments beyond the limit of
a function. It has a second signature, that of a vectorcall (PEP 590), in which that function stands in a table. All tables
are filled by the loader, so that the object code can be kept in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradlang.backend.llvm_entry import Entry, EntryText, Returns
from gradlang.backend.llvm_ops import Unit
from gradlang.backend.llvm_python import slot
from gradlang.backend.llvm_results import FLOAT, Again, layout
from gradlang.loops.ir import Buffer, Value

OFFSET = -(2**63)  # in a vectorcall's count of arguments: PY_VECTORCALL_ARGUMENTS_OFFSET
KEYS = 32  # where a dict has the address of its entries


@dataclass(frozen=True, eq=False)
class Keywords(Entry):
    """How a kernel of numbers is called from Python with keywords.

    The names are `words`, one for each number of the kernel; `defaults` are the numbers for those that may be left out. The one
    buffer of the kernel, in `results`, holds what is returned and at its end a number that is not zero if the function that
    takes over has to be asked instead. What is in `truths` is returned as True or False.

    If code stands `elsewhere`, it is run instead of the kernel: these are the addresses of a function without arguments, which
    gives a number that is not zero if the one that takes over has to be asked, of an array from which it reads its numbers,
    and of one to which it writes the results."""

    words: tuple[str, ...] = ()
    defaults: tuple[float | None, ...] = ()
    truths: frozenset[int] = frozenset()
    elsewhere: tuple[int, int, int] | None = None

    def tables(self) -> dict[str, list[str]]:
        return {**super().tables(), f"words.{self.name}": list(self.words)}

    def plain(self) -> list[dict[str, Returns]]:
        """The dicts of the result that hold nothing but floats. The loader gives for each a dict with the same keys to be
        copied, the object that is its values, and where these lie; or zeros, if dicts of this Python are not as expected."""
        found: list[dict[str, Returns]] = []
        waiting = [self.returns]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict) and part and all(isinstance(p, int) and p not in self.truths for p in part.values()):
                found.append(part)
            else:
                waiting += part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else ()
        return found

    def dicts_symbol(self) -> str:
        return f"dicts.{self.name}"

    def vector_symbol(self) -> str:
        """The function with the signature of a vectorcall."""
        return f"vector.{self.name}"

    def ask_symbol(self) -> str:
        """The place of the function that takes over in a vectorcall."""
        return f"ask.{self.name}"

    def again_symbol(self) -> str:
        """The table of results that are used again; its first word is the address of a list of two, which holds them, or 0 to
        have new objects for every call."""
        return f"again.{self.name}"

    def again(self) -> bool:
        return layout(self.returns, self.truths) is not None

    def elsewhere_symbol(self) -> str:
        return f"elsewhere.{self.name}"

    def text(self, unit: Unit) -> str:
        return KeywordText(unit, self).run()


class KeywordText(EntryText):
    def __init__(self, unit: Unit, entry: Keywords) -> None:
        super().__init__(unit, entry)
        self.own = entry
        self.starts: dict[int, int] = {}  # where the words of a dict begin in the table
        self.words = 0
        for part in entry.plain():
            self.starts[id(part)] = self.words
            self.words += 2 + len(part)
        found = layout(entry.returns, entry.truths)
        self.again = Again(self, found, entry.again_symbol()) if found is not None else None

    def result_number(self, k: int) -> str:
        return self.emit(f"load double, ptr {self.emit(f'getelementptr inbounds double, ptr %results, i64 {k}')}")

    def leaf(self, k: int, places: object) -> str:
        value = self.result_number(k)
        if k not in self.own.truths:
            return self.python("PyFloat_FromDouble", "ptr", f"double {value}")
        true = self.emit(f"fcmp une double {value}, 0.0")
        return self.python("PyBool_FromLong", "ptr", f"i64 {self.emit(f'zext i1 {true} to i64')}")

    def word(self, kind: str, k: int) -> str:
        return self.emit(
            f"load {kind}, ptr {self.emit(f'getelementptr inbounds i64, ptr @{self.own.dicts_symbol()}, i64 {k}')}"
        )

    def fork(self, part: object) -> tuple[str, str, str]:
        """Two ways for a dict: by a copy or step by step; their labels, and that of the place where they meet."""
        copied, stepwise, met = self.fresh("copied"), self.fresh("stepwise"), self.fresh("met")
        known = self.emit(f"icmp ne ptr {self.word('ptr', self.starts[id(part)])}, null")
        self.lines.append(f"  br i1 {known}, label %{copied}, label %{stepwise}")
        return copied, stepwise, met

    def made(self, part: Returns, places: Sequence[tuple[Buffer, str, int]]) -> str:
        name = super().made(part, places) if id(part) not in self.starts else self.new_dict(part)
        if self.again is not None:
            self.again.made(part, name)
        return name

    def put(self, holder: str, parts: tuple[Returns, ...], k: int, new: str) -> None:
        items = self.emit(f"getelementptr inbounds i8, ptr {holder}, i64 {self.emit('load i64, ptr ' + slot('tuple.items'))}")
        self.lines.append(f"  store ptr {new}, ptr {self.emit(f'getelementptr inbounds ptr, ptr {items}, i64 {k}')}")
        if self.again is not None:
            self.again.leaf(parts, k, new)

    def new_dict(self, part: Returns) -> str:
        copied, stepwise, met = self.fork(part)
        self.lines.append(f"{copied}:")
        one = self.python("PyDict_Copy", "ptr", f"ptr {self.word('ptr', self.starts[id(part)])}")
        self.lines += [f"  br label %{met}", f"{stepwise}:"]
        two = self.python("PyDict_New", "ptr")
        self.lines += [f"  br label %{met}", f"{met}:"]
        return self.emit(f"phi ptr [ {one}, %{copied} ], [ {two}, %{stepwise} ]")

    def fill(
        self, holder: str, parts: dict[str, Returns], places: Sequence[tuple[Buffer, str, int]]
    ) -> list[tuple[str, Returns]]:
        """In a copy the floats take the places of the values, each of which was one more reference."""
        if id(parts) not in self.starts:
            return super().fill(holder, parts, places)
        copied, stepwise, met = self.fork(parts)
        self.lines.append(f"{stepwise}:")
        super().fill(holder, parts, places)
        self.lines += [f"  br label %{met}", f"{copied}:"]
        start = self.starts[id(parts)]
        values = self.emit(f"load ptr, ptr {self.emit(f'getelementptr inbounds i8, ptr {holder}, i64 {KEYS}')}")
        hole = self.word("ptr", start + 1)
        for k, part in enumerate(parts.values()):
            new = super().made(part, places)
            self.unless(self.emit(f"icmp eq ptr {new}, null"), "drop")
            if self.again is not None:
                self.again.leaf(parts, k, new)
            at = self.emit(f"getelementptr inbounds i8, ptr {values}, i64 {self.word('i64', start + 2 + k)}")
            self.lines.append(f"  store ptr {new}, ptr {at}")
            fewer = self.emit(f"sub i32 {self.emit(f'load i32, ptr {hole}')}, 1")
            self.lines.append(f"  store i32 {fewer}, ptr {hole}")
        self.lines += [f"  br label %{met}", f"{met}:"]
        return []

    def globals(self) -> list[str]:
        tables = [f"@{self.own.ask_symbol()} = dso_local global ptr null"]
        if self.words:
            tables.append(f"@{self.own.dicts_symbol()} = dso_local global [{self.words} x i64] zeroinitializer")
        if self.again is not None:
            tables.append(self.again.table())
        if self.own.elsewhere is not None:
            tables.append(f"@{self.own.elsewhere_symbol()} = dso_local global [3 x ptr] zeroinitializer")
        return [*super().globals(), *tables]

    def find(self) -> None:
        """Puts the objects of a call into the places of their names. The search for a name begins after the place of the one
        before it, so names in their usual order are found at once."""
        many = len(self.own.words)
        self.unit.declared["declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"] = None
        self.lines += f"""\
  call void @llvm.memset.p0.i64(ptr %given, i8 0, i64 {8 * many}, i1 false)
  %float = load ptr, ptr {slot("float")}
  %known = icmp ne ptr %float, null
  %named.only = icmp eq i64 %count, 0
  %ours = and i1 %known, %named.only
  br i1 %ours, label %named, label %other
named:
  %bare = icmp eq ptr %names, null
  br i1 %bare, label %read, label %walk
walk:
  %many.at = getelementptr inbounds i8, ptr %names, i64 16
  %many = load i64, ptr %many.at
  %offset = load i64, ptr {slot("tuple.items")}
  %items = getelementptr inbounds i8, ptr %names, i64 %offset
  br label %next
next:
  %k = phi i64 [ 0, %walk ], [ %k.next, %found ]
  %guess = phi i64 [ 0, %walk ], [ %after, %found ]
  %done = icmp eq i64 %k, %many
  br i1 %done, label %read, label %take
take:
  %item.at = getelementptr inbounds ptr, ptr %items, i64 %k
  %item = load ptr, ptr %item.at
  %k.next = add i64 %k, 1
  %value.at = getelementptr inbounds ptr, ptr %args, i64 %k
  %value = load ptr, ptr %value.at
  br label %try
{self.search()}
found:
  %after = phi i64 [ %turned, %try ], [ 0, %spell ]
  %at = phi i64 [ %j, %try ], [ %s, %spell ]
  %place = getelementptr inbounds ptr, ptr %given, i64 %at
  store ptr %value, ptr %place
  br label %next
read:""".split("\n")

    def search(self) -> str:
        """The place of a name among the words; one that is none of the objects that Python keeps for names in code is compared
        letter by letter."""
        many = len(self.own.words)
        return f"""\
try:
  %j = phi i64 [ %guess, %take ], [ %turned, %miss ]
  %tries = phi i64 [ 0, %take ], [ %tries.next, %miss ]
  %word.at = getelementptr inbounds ptr, ptr @words.{self.own.name}, i64 %j
  %word = load ptr, ptr %word.at
  %after.j = add i64 %j, 1
  %last = icmp eq i64 %after.j, {many}
  %turned = select i1 %last, i64 0, i64 %after.j
  %same = icmp eq ptr %word, %item
  br i1 %same, label %found, label %miss
miss:
  %tries.next = add i64 %tries, 1
  %nowhere = icmp eq i64 %tries.next, {many}
  br i1 %nowhere, label %spell, label %try
spell:
  %s = phi i64 [ 0, %miss ], [ %s.next, %differs ]
  %spelt.at = getelementptr inbounds ptr, ptr @words.{self.own.name}, i64 %s
  %spelt = load ptr, ptr %spelt.at
  %compare = load ptr, ptr {slot("PyUnicode_Compare")}
  %order = call i32 %compare(ptr %spelt, ptr %item)
  %equal = icmp eq i32 %order, 0
  %s.next = add i64 %s, 1
  br i1 %equal, label %found, label %differs
differs:
  %s.last = icmp eq i64 %s.next, {many}
  br i1 %s.last, label %other, label %spell"""

    def number(self, k: int, default: float | None) -> str:
        """The k-th number: of a float that is given, or the default."""
        at = self.emit(f"getelementptr inbounds ptr, ptr %given, i64 {k}")
        value = self.emit(f"load ptr, ptr {at}")
        absent, there, have, got = (self.fresh(stem) for stem in ("absent", "there", "have", "got"))
        none = self.emit(f"icmp eq ptr {value}, null")
        self.lines += [f"  br i1 {none}, label %{absent if default is not None else 'other'}, label %{there}", f"{there}:"]
        kind = self.emit(f"load ptr, ptr {self.emit(f'getelementptr inbounds i8, ptr {value}, i64 8')}")
        self.lines += [f"  br i1 {self.emit(f'icmp eq ptr {kind}, %float')}, label %{have}, label %other", f"{have}:"]
        number = self.emit(f"load double, ptr {self.emit(f'getelementptr inbounds i8, ptr {value}, i64 {FLOAT}')}")
        if default is None:
            return number
        self.lines += [f"  br label %{got}", f"{absent}:", f"  br label %{got}", f"{got}:"]
        return self.emit(f"phi double [ {number}, %{have} ], [ {self.unit.literal(Value('f', default))}, %{absent} ]")

    def call(self, numbers: list[str], count: int) -> None:
        """Runs the kernel, or the code that stands elsewhere. Its results are copied at once: to make objects of them may run
        code of others, that calls this function again."""
        if self.own.elsewhere is None:
            given = ", ".join(["ptr %results", *(f"double {n}" for n in numbers)])
            self.lines.append(f"  call void @{self.own.kernel.name}({given})")
            return
        symbol = f"@{self.own.elsewhere_symbol()}"
        at = [self.emit(f"getelementptr inbounds ptr, ptr {symbol}, i64 {k}") for k in range(3)]
        code, inputs, outputs = [self.emit(f"load ptr, ptr {a}") for a in at]
        for k, n in enumerate(numbers):
            self.lines.append(f"  store double {n}, ptr {self.emit(f'getelementptr inbounds double, ptr {inputs}, i64 {k}')}")
        beyond = self.emit(f"sitofp i32 {self.emit(f'call i32 {code}()')} to double")
        self.unit.declared["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"] = None
        last = self.emit(f"getelementptr inbounds double, ptr %results, i64 {count - 1}")
        self.lines.append(f"  call void @llvm.memcpy.p0.p0.i64(ptr %results, ptr {outputs}, i64 {8 * (count - 1)}, i1 false)")
        self.lines.append(f"  store double {beyond}, ptr {last}")

    def run(self) -> str:
        own, (buffer, count) = self.own, next(iter(self.own.results.items()))
        self.find()
        numbers = [self.number(k, d) for k, d in enumerate(own.defaults)]
        self.call(numbers, count)
        asked = self.emit(f"load double, ptr {self.emit(f'getelementptr inbounds double, ptr %results, i64 {count - 1}')}")
        self.unless(self.emit(f"fcmp une double {asked}, 0.0"), "other")
        if self.again is not None:
            self.again.reuse()
        whole = self.result([(buffer, "%results", k) for k in range(count)])
        if self.again is not None:
            self.again.keep(whole)
        self.lines += [f"  ret ptr {whole}", "other:"]
        asked = self.python("PyObject_Vectorcall", "ptr", "ptr %ask", "ptr %args", "i64 %flags", "ptr %names")
        self.lines += [f"  ret ptr {asked}", *self.dropped()]
        head = [
            f"define internal ptr @{self.body}(ptr %ask, ptr %args, i64 %count, ptr %names, i64 %flags) nounwind {{",
            f"entry:\n  %whole = alloca ptr\n  %given = alloca [{len(own.words)} x ptr]",
            f"  %results = alloca [{count} x double]",
        ]
        body = [*head, *self.slots, *self.lines]
        return "\n".join([*self.globals(), *body, *self.by_method(), *self.by_vector()]) + "\n"

    @property
    def body(self) -> str:
        return f"body.{self.own.name}"

    def by_method(self) -> list[str]:
        """The signature of METH_FASTCALL | METH_KEYWORDS. The place before the arguments that are handed on is free for the
        function that is called: it holds the function itself."""
        self.lines = []
        self.unless(self.emit("icmp slt i64 %count, 1"), "miscounted")
        self.lines += [
            "  %ask = load ptr, ptr %args\n  %rest = getelementptr inbounds ptr, ptr %args, i64 1",
            f"  %fewer = sub i64 %count, 1\n  %flags = or i64 %fewer, {OFFSET}",
            f"  %made = tail call ptr @{self.body}(ptr %ask, ptr %rest, i64 %fewer, ptr %names, i64 %flags)",
            "  ret ptr %made\nmiscounted:",
        ]
        self.error("TypeError", "@wrong.count", "i64 1", "i64 %count")
        head = f"define dso_local ptr @{self.own.name}(ptr %self, ptr %args, i64 %count, ptr %names) nounwind {{"
        return [head, "entry:", *self.lines, "  ret ptr null\n}"]

    def by_vector(self) -> list[str]:
        return [
            f"define dso_local ptr @{self.own.vector_symbol()}(ptr %callable, ptr %args, i64 %flags, ptr %names) nounwind {{",
            f"  %ask = load ptr, ptr @{self.own.ask_symbol()}\n  %count = and i64 %flags, {~OFFSET}",
            f"  %made = tail call ptr @{self.body}(ptr %ask, ptr %args, i64 %count, ptr %names, i64 %flags)",
            "  ret ptr %made\n}",
        ]
