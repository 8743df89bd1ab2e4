"""The way of a call to generated code that has seen its like: one function for all programs, as LLVM text.

It is what Python calls an object by (PEP 590). The object has a place for a tuple, which says what is let through: names, and
for each the type and the shape of an array, or that it is a number. Arguments that fit go to the code in their order; all
else, and every call in which the code fails or cannot go on, goes to the function that checks.

The tuple holds a `bytes` object with the numbers below, the code as a Python function, the same as a recipe (`llvm_recipe.py`)
and the constants of this, or None for both, the names, and for each name its default value, or where there is none the object
by which code says that it cannot go on.

    names, then for each: the address of a dtype and the number of axes, or 0 and the address of another class of numbers
    that will do; and where in the words the lengths of its axes begin
"""

from __future__ import annotations

from collections.abc import Callable

from gradlang.backend.llvm_python import TABLE, field_of, slot
from gradlang.backend.llvm_recipe import RECIPE

NAME = "gate"
TEXTS = 4  # items of the tuple before the names
ROW = 3  # words of a name
WORDS = 32  # where the content of a bytes object lies
OFFSET = 2**63  # in a count of arguments: PY_VECTORCALL_ARGUMENTS_OFFSET
FUNCTIONS = ("PyMethod_New", "PyList_Size", "PyList_GetItem", "PyList_SetSlice", "PyList_Append")  # of the C API
OWN = (
    *("place", "ask", "again"),  # where an object has its tuple; the function that checks; what says that code cannot go on
    "tuple",  # the class
    *FUNCTIONS,
    *("PyArray_NewFromDescr", "PyArray_NewCopy"),
)

PLACE = """
; the place of a name among those that are known, looked for from a guess on; -1 if it is none
define internal i64 @place(ptr %known, i64 %many, ptr %name, i64 %guess) {
entry:
  br label %try
try:
  %tries = phi i64 [ 0, %entry ], [ %tries.next, %miss ]
  %j = phi i64 [ %guess, %entry ], [ %turned, %miss ]
  %left = icmp slt i64 %tries, %many
  br i1 %left, label %compare, label %spell
compare:
  %inside = icmp slt i64 %j, %many
  %at = select i1 %inside, i64 %j, i64 0
  %known.at = getelementptr inbounds ptr, ptr %known, i64 %at
  %word = load ptr, ptr %known.at
  %same = icmp eq ptr %word, %name
  br i1 %same, label %found, label %miss
miss:
  %tries.next = add i64 %tries, 1
  %turned = add i64 %at, 1
  br label %try
found:
  ret i64 %at
spell:
  %s = phi i64 [ 0, %try ], [ %s.next, %differs ]
  %more = icmp slt i64 %s, %many
  br i1 %more, label %letters, label %none
letters:
  %spelt.at = getelementptr inbounds ptr, ptr %known, i64 %s
  %spelt = load ptr, ptr %spelt.at
  %compares = load ptr, ptr SLOT(PyUnicode_Compare)
  %order = call i32 %compares(ptr %spelt, ptr %name)
  %equal = icmp eq i32 %order, 0
  br i1 %equal, label %spelled, label %differs
differs:
  %s.next = add i64 %s, 1
  br label %spell
spelled:
  ret i64 %s
none:
  ret i64 -1
}
"""
FITS = """
; whether a value is what a row says
define internal i1 @fits(ptr %o, ptr %words, ptr %row) {
entry:
  %descr = load ptr, ptr %row
  %second.at = getelementptr inbounds i64, ptr %row, i64 1
  %second = load i64, ptr %second.at
FIELD(%class, ptr, %o, 8)
  %number = icmp eq ptr %descr, null
  br i1 %number, label %real, label %array
real:
  %float = load ptr, ptr SLOT(float)
  %is.float = icmp eq ptr %class, %float
  %other = inttoptr i64 %second to ptr
  %is.other = icmp eq ptr %class, %other
  %good = or i1 %is.float, %is.other
  ret i1 %good
array:
  %ndarray = load ptr, ptr SLOT(ndarray)
  %plain = icmp eq ptr %class, %ndarray
  br i1 %plain, label %fields, label %no
fields:
FIELD(%has, ptr, %o, 56)
FIELD(%flags, i32, %o, 64)
FIELD(%nd, i32, %o, 24)
FIELD(%dims, ptr, %o, 32)
  %contiguous = and i32 %flags, 257
  %flagged = icmp eq i32 %contiguous, 257
  %typed = icmp eq ptr %has, %descr
  %rank = trunc i64 %second to i32
  %ranked = icmp eq i32 %nd, %rank
  %both = and i1 %flagged, %typed
  %all = and i1 %both, %ranked
  br i1 %all, label %lengths, label %no
lengths:
  %start.at = getelementptr inbounds i64, ptr %row, i64 2
  %start = load i64, ptr %start.at
  %wanted = getelementptr inbounds i64, ptr %words, i64 %start
  br label %axis
axis:
  %k = phi i64 [ 0, %lengths ], [ %k.next, %next ]
  %more = icmp slt i64 %k, %second
  br i1 %more, label %next, label %yes
next:
  %dim.at = getelementptr inbounds i64, ptr %dims, i64 %k
  %dim = load i64, ptr %dim.at
  %want.at = getelementptr inbounds i64, ptr %wanted, i64 %k
  %want = load i64, ptr %want.at
  %k.next = add i64 %k, 1
  %equal = icmp eq i64 %dim, %want
  br i1 %equal, label %axis, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""
GATE = f"""
; the result, or null where the function that checks is to be asked, with or without an exception
define internal ptr @run(ptr %items, ptr %given, i64 %many) {{
entry:
  %recipe.at = getelementptr inbounds ptr, ptr %items, i64 2
  %recipe = load ptr, ptr %recipe.at
  %none = load ptr, ptr SLOT(None)
  %plain = icmp eq ptr %recipe, %none
  br i1 %plain, label %python, label %steps
steps:
  %constants.at = getelementptr inbounds ptr, ptr %items, i64 3
  %constants = load ptr, ptr %constants.at
  %offset = load i64, ptr SLOT(tuple.items)
  %kept = getelementptr inbounds i8, ptr %constants, i64 %offset
  %words = getelementptr inbounds i8, ptr %recipe, i64 {WORDS}
  %first = call ptr @recipe(ptr %words, ptr %given, ptr %kept)
  %again = load ptr, ptr OWN(again)
  %unready = icmp eq ptr %first, %again
  br i1 %unready, label %python, label %have
python:
  %code.at = getelementptr inbounds ptr, ptr %items, i64 1
  %code = load ptr, ptr %code.at
  %call = load ptr, ptr SLOT(PyObject_Vectorcall)
  %second = call ptr %call(ptr %code, ptr %given, i64 %many, ptr null)
  br label %have
have:
  %made = phi ptr [ %first, %steps ], [ %second, %python ]
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %give, label %result
result:
  %stop = load ptr, ptr OWN(again)
  %stopped = icmp eq ptr %made, %stop
  br i1 %stopped, label %drop, label %give
drop:
  %drops = load ptr, ptr SLOT(Py_DecRef)
  call void %drops(ptr %made)
  br label %nothing
give:
  ret ptr %made
nothing:
  ret ptr null
}}

; the same with everything that is found out about the arguments before
define internal ptr @pass(ptr %items, ptr %args, i64 %count, ptr %names) {{
entry:
  %position = alloca i64
  %key = alloca ptr
  %held = alloca ptr
  %offset = load i64, ptr SLOT(tuple.items)
  %table = load ptr, ptr %items
  %words = getelementptr inbounds i8, ptr %table, i64 {WORDS}
  %many = load i64, ptr %words
  %known = getelementptr inbounds ptr, ptr %items, i64 {TEXTS}
  %defaults = getelementptr inbounds ptr, ptr %known, i64 %many
  %given = alloca ptr, i64 %many
  %bytes = mul i64 %many, 8
  call void @llvm.memset.p0.i64(ptr %given, i8 0, i64 %bytes, i1 false)
  store i64 0, ptr %position
  %unnamed = icmp eq ptr %names, null
  %none = icmp eq i64 %count, 0
  br i1 %none, label %named, label %mapping
named:
  br i1 %unnamed, label %check, label %walk
walk:
FIELD(%written, i64, %names, 16)
  %names.items = getelementptr inbounds i8, ptr %names, i64 %offset
  br label %word
word:
  %w = phi i64 [ 0, %walk ], [ %w.next, %word.put ]
  %word.guess = phi i64 [ 0, %walk ], [ %word.after, %word.put ]
  %unread = icmp slt i64 %w, %written
  br i1 %unread, label %word.read, label %check
word.read:
  %word.name.at = getelementptr inbounds ptr, ptr %names.items, i64 %w
  %word.name = load ptr, ptr %word.name.at
  %word.value.at = getelementptr inbounds ptr, ptr %args, i64 %w
  %word.value = load ptr, ptr %word.value.at
  %w.next = add i64 %w, 1
FIELD(%word.kind, ptr, %word.name, 8)
  %word.str = load ptr, ptr SLOT(str)
  %word.is.str = icmp eq ptr %word.kind, %word.str
  br i1 %word.is.str, label %word.place, label %other
word.place:
  %word.at = call i64 @place(ptr %known, i64 %many, ptr %word.name, i64 %word.guess)
  %word.strange = icmp slt i64 %word.at, 0
  br i1 %word.strange, label %other, label %word.put
word.put:
  %word.put.at = getelementptr inbounds ptr, ptr %given, i64 %word.at
  store ptr %word.value, ptr %word.put.at
  %word.after = add i64 %word.at, 1
  br label %word
mapping:
  %alone = icmp eq i64 %count, 1
  %one = and i1 %unnamed, %alone
  br i1 %one, label %given.dict, label %other
given.dict:
  %first = load ptr, ptr %args
FIELD(%class, ptr, %first, 8)
  %wanted = load ptr, ptr SLOT(dict)
  %is.dict = icmp eq ptr %class, %wanted
  br i1 %is.dict, label %entries, label %other
entries:
  %guess = phi i64 [ 0, %given.dict ], [ %after, %put ]
  %next = load ptr, ptr SLOT(PyDict_Next)
  %there = call i32 %next(ptr %first, ptr %position, ptr %key, ptr %held)
  %ended = icmp eq i32 %there, 0
  br i1 %ended, label %check, label %entry.name
entry.name:
  %name = load ptr, ptr %key
FIELD(%kind, ptr, %name, 8)
  %str = load ptr, ptr SLOT(str)
  %is.str = icmp eq ptr %kind, %str
  br i1 %is.str, label %entry.place, label %other
entry.place:
  %at = call i64 @place(ptr %known, i64 %many, ptr %name, i64 %guess)
  %strange = icmp slt i64 %at, 0
  br i1 %strange, label %other, label %put
put:
  %value = load ptr, ptr %held
  %put.at = getelementptr inbounds ptr, ptr %given, i64 %at
  store ptr %value, ptr %put.at
  %after = add i64 %at, 1
  br label %entries
check:
  %rows = getelementptr inbounds i64, ptr %words, i64 1
  br label %each
each:
  %i = phi i64 [ 0, %check ], [ %i.next, %fine ]
  %left = icmp slt i64 %i, %many
  br i1 %left, label %look, label %go
look:
  %o.at = getelementptr inbounds ptr, ptr %given, i64 %i
  %have = load ptr, ptr %o.at
  %absent = icmp eq ptr %have, null
  %default.at = getelementptr inbounds ptr, ptr %defaults, i64 %i
  %default = load ptr, ptr %default.at
  %o = select i1 %absent, ptr %default, ptr %have
  store ptr %o, ptr %o.at
  %row.at = mul i64 %i, {ROW}
  %row = getelementptr inbounds i64, ptr %rows, i64 %row.at
  %good = call i1 @fits(ptr %o, ptr %words, ptr %row)
  br i1 %good, label %fine, label %other
fine:
  %i.next = add i64 %i, 1
  br label %each
go:
  %made = call ptr @run(ptr %items, ptr %given, i64 %many)
  ret ptr %made
other:
  ret ptr null
}}

define dso_local ptr @{NAME}(ptr %callable, ptr %args, i64 %flags, ptr %names) {{
entry:
  %count = and i64 %flags, {OFFSET - 1}
  %place = load i64, ptr OWN(place)
  %tuple.at = getelementptr inbounds i8, ptr %callable, i64 %place
  %tuple = load ptr, ptr %tuple.at
  %closed = icmp eq ptr %tuple, null
  br i1 %closed, label %ask, label %open
open:
; others may close the gate, or put another tuple there, while the code runs
  %holds = load ptr, ptr SLOT(Py_IncRef)
  call void %holds(ptr %tuple)
  %offset = load i64, ptr SLOT(tuple.items)
  %items = getelementptr inbounds i8, ptr %tuple, i64 %offset
  %made = call ptr @pass(ptr %items, ptr %args, i64 %count, ptr %names)
  %drops = load ptr, ptr SLOT(Py_DecRef)
  call void %drops(ptr %tuple)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %error, label %give
give:
  ret ptr %made
error:
  %occurred = load ptr, ptr SLOT(PyErr_Occurred)
  %exception = call ptr %occurred()
  %quiet = icmp eq ptr %exception, null
  br i1 %quiet, label %ask, label %raised
raised:
  %matches = load ptr, ptr SLOT(PyErr_ExceptionMatches)
  %ordinary = load ptr, ptr SLOT(Exception)
  %matched = call i32 %matches(ptr %ordinary)
  %told = icmp ne i32 %matched, 0
  br i1 %told, label %clear, label %give
clear:
  %clears = load ptr, ptr SLOT(PyErr_Clear)
  call void %clears()
  br label %ask
ask:
  %binds = load ptr, ptr OWN(PyMethod_New)
  %asks = load ptr, ptr OWN(ask)
  %method = call ptr %binds(ptr %asks, ptr %callable)
  %unbound = icmp eq ptr %method, null
  br i1 %unbound, label %nothing, label %call
call:
  %calls = load ptr, ptr SLOT(PyObject_Vectorcall)
  %asked = call ptr %calls(ptr %method, ptr %args, i64 %flags, ptr %names)
  %lets = load ptr, ptr SLOT(Py_DecRef)
  call void %lets(ptr %method)
  ret ptr %asked
nothing:
  ret ptr null
}}
"""


def own(name: str) -> str:
    return f"getelementptr inbounds ([{len(OWN)} x ptr], ptr @own, i64 0, i64 {OWN.index(name)})"


def indexed(target: str, kind: str, base: str, index: str) -> str:
    return f"  {target}.at = getelementptr inbounds {kind}, ptr {base}, i64 {index}\n  {target} = load {kind}, ptr {target}.at"


LINES: dict[str, Callable[..., str]] = {  # short forms of what is read from memory, each a line of its own
    "FIELD": lambda target, kind, base, offset: field_of(target, kind, base, int(offset)),
    "WORD": lambda target, words, index: indexed(target, "i64", words, index),
    "VALUE": lambda target, place: indexed(target, "ptr", "%v", place),
}


def written_out(line: str) -> str:
    name, _, rest = line.partition("(")
    if name in LINES:
        return LINES[name](*rest[:-1].split(", "))
    for mark, find in (("SLOT(", slot), ("OWN(", own)):
        before, found, rest = line.partition(mark)
        if found:
            name, _, after = rest.partition(")")
            return before + find(name) + after
    return line


def gate_text() -> str:
    """The gate, which takes CPython from the table `@python`, and what else it needs from `@own`."""
    head = [
        f"@python = dso_local global [{len(TABLE)} x ptr] zeroinitializer",
        f"@own = dso_local global [{len(OWN)} x ptr] zeroinitializer",
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    ]
    return "\n".join([*head, *map(written_out, (PLACE + FITS + RECIPE + GATE).split("\n"))]) + "\n"
