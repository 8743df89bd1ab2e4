"""What entries have in common: the table of CPython's functions and objects, and the reading of arrays, which it has too.

An array that is exactly an ndarray of the wanted type, contiguous, aligned and large enough is read where NumPy's C API has
its fields; anything else goes through the buffer protocol, which also makes the errors.
"""

from __future__ import annotations

TABLE = (  # functions of the C API, objects, and numbers
    *("PyErr_Occurred", "PyErr_Format", "PyFloat_AsDouble", "PyFloat_FromDouble", "PyNumber_AsSsize_t", "PyLong_FromSsize_t"),
    *("PyObject_IsTrue", "PyBool_FromLong", "PyTuple_New", "PyTuple_SetItem", "PyDict_New", "PyDict_SetItem"),
    *("PyObject_GetBuffer", "PyBuffer_Release", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_IncRef", "Py_DecRef"),
    *("PyObject_Vectorcall", "PyDict_Copy", "PyList_SetItem", "PyUnicode_Compare"),
    *("PyDict_Next", "PyErr_Clear", "PyErr_ExceptionMatches", "PyObject_Call"),
    *("None", "TypeError", "ValueError", "OverflowError", "ndarray", "float64", "float32", "int64", "int32", "bool", "float"),
    *("Exception", "dict", "str"),
    *("arrays", "release"),  # functions of the text below
    "tuple.items",  # where the items of a tuple lie
)
# To make this code better takes LLVM longer than most kernels, and is not seen in the time of a call.
GLUE = "nounwind noinline optnone"
FUNCTIONS = TABLE[: TABLE.index("None")]
OBJECTS = TABLE[TABLE.index("None") : TABLE.index("arrays")]


def slot(name: str) -> str:
    return f"getelementptr inbounds ([{len(TABLE)} x ptr], ptr @python, i64 0, i64 {TABLE.index(name)})"


def field_of(target: str, kind: str, base: str, offset: int) -> str:
    return f"  {target}.at = getelementptr inbounds i8, ptr {base}, i64 {offset}\n  {target} = load {kind}, ptr {target}.at"


# What is known of an array before a call: the number of the argument, the slot of its type, the size of an entry, the letters
# of the formats that will do, whether it is written to, and its name and that of the type for messages.
COLUMNS = {"at": "i64", "type": "ptr", "size": "i64", "first": "i32", "second": "i32", "write": "i32"}
COLUMNS |= {"name": "ptr", "typename": "ptr"}
ROW = f"{{ {', '.join(COLUMNS.values())} }}"
VIEW = 80  # bytes of a Py_buffer


def column(target: str, name: str) -> str:
    """The reading of a part of %row."""
    at = f"  {target}.at = getelementptr inbounds {ROW}, ptr %row, i64 0, i32 {list(COLUMNS).index(name)}"
    return f"{at}\n  {target} = load {COLUMNS[name]}, ptr {target}.at"


def row_constant(at: int, type: str, *others: object) -> str:
    """A row of the table of arrays, in the order of its columns."""
    values = (at, slot(type), *others)
    return f"{ROW} {{ {', '.join(f'{kind} {v}' for kind, v in zip(COLUMNS.values(), values, strict=True))} }}"


def text_constant(name: str, text: str) -> str:
    raw = text.encode() + b"\0"
    inside = "".join(chr(c) if 32 <= c < 127 and c not in (34, 92) else f"\\{c:02X}" for c in raw)
    return f'@{name} = private unnamed_addr constant [{len(raw)} x i8] c"{inside}"'


# The reading of an array: by the fields of an ndarray, and otherwise through the buffer protocol.
FIELDS = f"""
; 0 and the address of the data in %out, or 1 and a Python exception. A view with an owner has to be released.
define internal i32 @array(ptr %o, i64 %need, ptr %row, ptr %view, ptr %out) nounwind {{
entry:
{column("%slot", "type")}
  %type = load ptr, ptr %slot
{column("%write", "write")}
{field_of("%class", "ptr", "%o", 8)}
  %ndarray = load ptr, ptr {slot("ndarray")}
  %plain = icmp eq ptr %class, %ndarray
  br i1 %plain, label %numpy, label %other
numpy:
{field_of("%descr", "ptr", "%o", 56)}
{field_of("%flags", "i32", "%o", 64)}
  %asked = mul i32 %write, {0x400}
  %wanted = or i32 %asked, {0x101}
  %present = and i32 %flags, %wanted
  %good.flags = icmp eq i32 %present, %wanted
  %good.type = icmp eq ptr %descr, %type
  %good = and i1 %good.flags, %good.type
{field_of("%nd", "i32", "%o", 24)}
{field_of("%dims", "ptr", "%o", 32)}
  br i1 %good, label %count, label %other
count:
  %k = phi i32 [ 0, %numpy ], [ %k.next, %times ]
  %total = phi i64 [ 1, %numpy ], [ %total.next, %times ]
  %more = icmp slt i32 %k, %nd
  br i1 %more, label %times, label %counted
times:
  %dim.at = getelementptr inbounds i64, ptr %dims, i32 %k
  %dim = load i64, ptr %dim.at
  %total.next = mul i64 %total, %dim
  %k.next = add i32 %k, 1
  br label %count
counted:
  %enough = icmp sge i64 %total, %need
  br i1 %enough, label %fast, label %short
fast:
{field_of("%data", "ptr", "%o", 16)}
  store ptr %data, ptr %out
  ret i32 0
"""
PROTOCOL = f"""
other:
  %get = load ptr, ptr {slot("PyObject_GetBuffer")}
  %mode = or i32 %write, 12
  %status = call i32 %get(ptr %o, ptr %view, i32 %mode)
  %got = icmp eq i32 %status, 0
  br i1 %got, label %check, label %failed
failed:
  %owner.at = getelementptr inbounds i8, ptr %view, i64 8
  store ptr null, ptr %owner.at
  ret i32 1
check:
{column("%first", "first")}
{column("%second", "second")}
{column("%size", "size")}
{field_of("%format", "ptr", "%view", 40)}
{field_of("%itemsize", "i64", "%view", 24)}
  %formatted = icmp ne ptr %format, null
  br i1 %formatted, label %letters, label %mismatch
letters:
  %letter.byte = load i8, ptr %format
  %letter = zext i8 %letter.byte to i32
  %ended.at = getelementptr inbounds i8, ptr %format, i64 1
  %ended.byte = load i8, ptr %ended.at
  %is.first = icmp eq i32 %letter, %first
  %is.second = icmp eq i32 %letter, %second
  %is.letter = or i1 %is.first, %is.second
  %is.size = icmp eq i64 %itemsize, %size
  %is.ended = icmp eq i8 %ended.byte, 0
  %is.both = and i1 %is.letter, %is.size
  %matches = and i1 %is.both, %is.ended
  br i1 %matches, label %length, label %mismatch
mismatch:
{column("%wrong", "name")}
{column("%typename", "typename")}
  %fail = load ptr, ptr {slot("PyErr_Format")}
  %typeerror = load ptr, ptr {slot("TypeError")}
  call ptr (ptr, ptr, ...) %fail(ptr %typeerror, ptr @wrong.type, ptr %wrong, ptr %typename)
  ret i32 1
length:
{field_of("%bytes", "i64", "%view", 16)}
  %entries = sdiv i64 %bytes, %size
  %long = icmp sge i64 %entries, %need
  br i1 %long, label %slow, label %short
slow:
{field_of("%buf", "ptr", "%view", 0)}
  store ptr %buf, ptr %out
  ret i32 0
short:
  %has = phi i64 [ %total, %counted ], [ %entries, %length ]
{column("%name", "name")}
  %raise = load ptr, ptr {slot("PyErr_Format")}
  %valueerror = load ptr, ptr {slot("ValueError")}
  call ptr (ptr, ptr, ...) %raise(ptr %valueerror, ptr @too.short, ptr %name, i64 %has, i64 %need)
  ret i32 1
}}
"""
# All arrays of a call: their addresses go to %outs, or 1 says that there is an exception, and nothing has to be released.
ARRAYS = f"""
define dso_local i32 @arrays(ptr %args, ptr %rows, ptr %needs, i64 %count, ptr %views, ptr %outs) nounwind {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %after, %one ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %all
one:
  %row = getelementptr inbounds {ROW}, ptr %rows, i64 %k
{column("%at", "at")}
  %o.at = getelementptr inbounds ptr, ptr %args, i64 %at
  %o = load ptr, ptr %o.at
  %need.at = getelementptr inbounds i64, ptr %needs, i64 %k
  %need = load i64, ptr %need.at
  %view = getelementptr inbounds [{VIEW} x i8], ptr %views, i64 %k
  %owner.at = getelementptr inbounds i8, ptr %view, i64 8
  store ptr null, ptr %owner.at
  %out = getelementptr inbounds ptr, ptr %outs, i64 %k
  %status = call i32 @array(ptr %o, i64 %need, ptr %row, ptr %view, ptr %out)
  %good = icmp eq i32 %status, 0
  %after = add i64 %k, 1
  br i1 %good, label %next, label %failed
failed:
  call void @release(ptr %views, i64 %after)
  ret i32 1
all:
  ret i32 0
}}

define dso_local void @release(ptr %views, i64 %count) nounwind {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %after, %one ], [ %after, %owned ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %all
one:
  %view = getelementptr inbounds [{VIEW} x i8], ptr %views, i64 %k
{field_of("%owner", "ptr", "%view", 8)}
  %after = add i64 %k, 1
  %none = icmp eq ptr %owner, null
  br i1 %none, label %next, label %owned
owned:
  %release = load ptr, ptr {slot("PyBuffer_Release")}
  call void %release(ptr %view)
  br label %next
all:
  ret void
}}
"""


def common() -> str:
    """The table and the messages that all entries of a text share."""
    return f"""
@python = dso_local global [{len(TABLE)} x ptr] zeroinitializer
{text_constant("wrong.count", "%zd arguments are needed, not %zd")}
{text_constant("negative", "argument %s must not be negative")}
"""


def reading_text() -> str:
    """What reads the arrays of all entries: a text of its own, so that it is made once, and well."""
    wrong_type, too_short = "argument %s must be an array of %s", "argument %s has %zd entries, and at least %zd are needed"
    return f"""
@python = dso_local global [{len(TABLE)} x ptr] zeroinitializer
{text_constant("wrong.type", wrong_type)}
{text_constant("too.short", too_short)}
{FIELDS.rstrip()}
{PROTOCOL.strip()}
{ARRAYS.rstrip()}
"""
