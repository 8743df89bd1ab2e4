"""Functions of numbers that Python calls with keywords, as LLVM text.

An entry has the C signature of METH_FASTCALL | METH_KEYWORDS. Its first argument is a function that takes over whatever machine
code does not do: values that are no floats, names that are not known, arguments by position, arguments beyond the limit of
a function. So the text holds no state, and its object code can be kept in a file.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradlang.backend.llvm_entry import Entry, EntryText
from gradlang.backend.llvm_ops import Unit
from gradlang.backend.llvm_python import slot
from gradlang.loops.ir import Buffer, Value

FLOAT = 16  # where the number of a float object lies


@dataclass(frozen=True, eq=False)
class Keywords(Entry):
    """How a kernel of numbers is called from Python with keywords.

    The names are `words`, one for each number of the kernel; `defaults` are the numbers for those that may be left out. The one
    buffer of the kernel, in `results`, holds what is returned and at its end a number that is not zero if the function that
    takes over has to be asked instead. What is in `truths` is returned as True or False."""

    words: tuple[str, ...] = ()
    defaults: tuple[float | None, ...] = ()
    truths: frozenset[int] = frozenset()

    def tables(self) -> dict[str, list[str]]:
        return {**super().tables(), f"words.{self.name}": list(self.words)}

    def text(self, unit: Unit) -> str:
        return KeywordText(unit, self).run()


class KeywordText(EntryText):
    def __init__(self, unit: Unit, entry: Keywords) -> None:
        super().__init__(unit, entry)
        self.own = entry

    def leaf(self, k: int, places: object) -> str:
        at = self.emit(f"getelementptr inbounds double, ptr %results, i64 {k}")
        value = self.emit(f"load double, ptr {at}")
        if k not in self.own.truths:
            return self.python("PyFloat_FromDouble", "ptr", f"double {value}")
        true = self.emit(f"fcmp une double {value}, 0.0")
        return self.python("PyBool_FromLong", "ptr", f"i64 {self.emit(f'zext i1 {true} to i64')}")

    def find(self) -> None:
        """Puts the objects of a call into the places of their names. The search for a name begins after the place of the one
        before it, so names in their usual order are found at once."""
        many = len(self.own.words)
        self.unit.declared["declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"] = None
        self.lines += f"""\
  call void @llvm.memset.p0.i64(ptr %given, i8 0, i64 {8 * many}, i1 false)
  %alone = icmp eq i64 %count, 1
  br i1 %alone, label %named, label %several
several:
  %none = icmp slt i64 %count, 1
  br i1 %none, label %miscounted, label %other
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
  %value.at = getelementptr inbounds ptr, ptr %args, i64 %k.next
  %value = load ptr, ptr %value.at
  br label %try
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
  br i1 %nowhere, label %other, label %try
found:
  %after = phi i64 [ %turned, %try ]
  %place = getelementptr inbounds ptr, ptr %given, i64 %j
  store ptr %value, ptr %place
  br label %next
read:
  %float = load ptr, ptr {slot("float")}""".split("\n")

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

    def run(self) -> str:
        own, (buffer, count) = self.own, next(iter(self.own.results.items()))
        self.find()
        numbers = [self.number(k, d) for k, d in enumerate(own.defaults)]
        self.lines.append(f"  call void @{own.kernel.name}({', '.join(['ptr %results', *(f'double {n}' for n in numbers)])})")
        asked = self.emit(f"load double, ptr {self.emit(f'getelementptr inbounds double, ptr %results, i64 {count - 1}')}")
        self.unless(self.emit(f"fcmp une double {asked}, 0.0"), "other")
        places: list[tuple[Buffer, str, int]] = [(buffer, "%results", k) for k in range(count)]
        self.lines.append(f"  ret ptr {self.result(places)}")
        self.lines.append("other:")
        self.lines.append("  %ask = load ptr, ptr %args\n  %rest = getelementptr inbounds ptr, ptr %args, i64 1")
        # the place before the arguments is free for the function that is called: it holds the function itself
        self.lines.append(f"  %fewer = sub i64 %count, 1\n  %counted = or i64 %fewer, {-(2**63)}")
        asked = self.python("PyObject_Vectorcall", "ptr", "ptr %ask", "ptr %rest", "i64 %counted", "ptr %names")
        self.lines += [f"  ret ptr {asked}", "miscounted:"]
        self.error("TypeError", "@wrong.count", "i64 1", "i64 %count")
        self.lines += ["  ret ptr null", *self.dropped()]
        head = [
            f"define ptr @{own.name}(ptr %self, ptr %args, i64 %count, ptr %names) nounwind {{",
            f"entry:\n  %whole = alloca ptr\n  %given = alloca [{len(own.words)} x ptr]",
            f"  %results = alloca [{count} x double]",
        ]
        return "\n".join([*self.globals(), *head, *self.slots, *self.lines]) + "\n"
