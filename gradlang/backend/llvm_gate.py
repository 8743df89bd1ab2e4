"""The way of a call to generated code that has seen its like: one function for all programs, as LLVM text.

It has the C signature of METH_VARARGS | METH_KEYWORDS: Python has made a dict of the keywords when it calls an object. It
belongs to a tuple, which says what it lets through: names, and for each the type and the shape of an array, or that it is a
number. Arguments that fit go to the code in their order; everything else, and every call in which the code fails or cannot go
on, goes to the function that checks.

The tuple holds a `bytes` object with the numbers below, the code, the function that checks, the object by which the code says
that it cannot go on, the names, and for each name its default value, or that object once more where there is none.

    names, then for each: the address of a dtype and the number of axes, or 0 and the address of another class of numbers
    that will do; and where in the words the lengths of its axes begin
"""

from __future__ import annotations

from gradlang.backend.llvm_python import TABLE, field_of, slot

NAME = "gate"
TEXTS = 4  # items of the tuple before the names
ROW = 3  # words of a name
WORDS = 32  # where the content of a bytes object lies

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
define dso_local ptr @{NAME}(ptr %self, ptr %args, ptr %keywords) {{
entry:
  %position = alloca i64
  %key = alloca ptr
  %held = alloca ptr
  %offset = load i64, ptr SLOT(tuple.items)
  %items = getelementptr inbounds i8, ptr %self, i64 %offset
  %table = load ptr, ptr %items
  %words = getelementptr inbounds i8, ptr %table, i64 {WORDS}
  %many = load i64, ptr %words
  %ask.at = getelementptr inbounds ptr, ptr %items, i64 2
  %ask = load ptr, ptr %ask.at
  %stop.at = getelementptr inbounds ptr, ptr %items, i64 3
  %stop = load ptr, ptr %stop.at
  %known = getelementptr inbounds ptr, ptr %items, i64 {TEXTS}
  %defaults = getelementptr inbounds ptr, ptr %known, i64 %many
  %given = alloca ptr, i64 %many
  %bytes = mul i64 %many, 8
  call void @llvm.memset.p0.i64(ptr %given, i8 0, i64 %bytes, i1 false)
  store i64 0, ptr %position
  %unnamed = icmp eq ptr %keywords, null
FIELD(%count, i64, %args, 16)
  %none = icmp eq i64 %count, 0
  br i1 %none, label %named, label %mapping
named:
  br i1 %unnamed, label %check, label %entries
mapping:
  %alone = icmp eq i64 %count, 1
  %one = and i1 %unnamed, %alone
  br i1 %one, label %given.dict, label %other
given.dict:
  %first.at = getelementptr inbounds i8, ptr %args, i64 %offset
  %first = load ptr, ptr %first.at
FIELD(%class, ptr, %first, 8)
  %wanted = load ptr, ptr SLOT(dict)
  %is.dict = icmp eq ptr %class, %wanted
  br i1 %is.dict, label %entries, label %other
entries:
  %dict = phi ptr [ %keywords, %named ], [ %first, %given.dict ], [ %dict, %put ]
  %guess = phi i64 [ 0, %named ], [ 0, %given.dict ], [ %after, %put ]
  %next = load ptr, ptr SLOT(PyDict_Next)
  %there = call i32 %next(ptr %dict, ptr %position, ptr %key, ptr %held)
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
  br i1 %left, label %look, label %run
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
run:
  %code.at = getelementptr inbounds ptr, ptr %items, i64 1
  %code = load ptr, ptr %code.at
  %call = load ptr, ptr SLOT(PyObject_Vectorcall)
  %made = call ptr %call(ptr %code, ptr %given, i64 %many, ptr null)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %error, label %result
error:
  %matches = load ptr, ptr SLOT(PyErr_ExceptionMatches)
  %exception = load ptr, ptr SLOT(Exception)
  %matched = call i32 %matches(ptr %exception)
  %ordinary = icmp ne i32 %matched, 0
  br i1 %ordinary, label %clear, label %give
clear:
  %clears = load ptr, ptr SLOT(PyErr_Clear)
  call void %clears()
  br label %other
result:
  %stopped = icmp eq ptr %made, %stop
  br i1 %stopped, label %drop, label %give
drop:
  %drops = load ptr, ptr SLOT(Py_DecRef)
  call void %drops(ptr %made)
  br label %other
give:
  ret ptr %made
other:
  %asks = load ptr, ptr SLOT(PyObject_Call)
  %asked = call ptr %asks(ptr %ask, ptr %args, ptr %keywords)
  ret ptr %asked
}}
"""


def gate_text() -> str:
    """The gate, which takes CPython from the table `@python`."""
    out = [
        f"@python = dso_local global [{len(TABLE)} x ptr] zeroinitializer",
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
    ]
    for line in (PLACE + FITS + GATE).split("\n"):
        if line.startswith("FIELD("):
            target, kind, base, at = line[len("FIELD(") : -1].split(", ")
            line = field_of(target, kind, base, int(at))
        elif "SLOT(" in line:
            before, _, rest = line.partition("SLOT(")
            name, _, after = rest.partition(")")
            line = before + slot(name) + after
        out.append(line)
    return "\n".join(out) + "\n"
