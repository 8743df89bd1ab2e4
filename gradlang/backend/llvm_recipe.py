"""What the driver of a plan does, by machine code: one interpreter of recipes for all programs, as LLVM text.

Of most programs the driver makes arrays, runs kernels and puts a result together. Python takes longer for this than a kernel
takes for a thousand numbers. A recipe is the same as words, over values: the arguments first, then whatever is made, each once,
and at the end constants. All values but constants are held until the end. The parts of a result lie on a stack.

The kernels are run through their entries (`llvm_entry.py`), which look at every array as they do when Python calls them.
"""

from __future__ import annotations

HEAD = 5  # words before the steps: numbers of values, arguments and constants, room for the stack and for arguments of an entry
# Steps by their numbers; v and a stand for places of values.
MAKE = 1  # v, address of a dtype, number of axes, their lengths: a new array, not filled
CALL = 2  # address, numbers of arguments and of results, place of the first of these, then the arguments
STOP = 3  # v: gives up if it is true
ROOM = 4  # v, number of its items, place of the first of these, place of a list: takes the last tuple of the list
BACK = 5  # v, place of a list: puts it there
PUSH = 6  # v: on the stack
TUPLE = 7  # number of items
DICT = 8  # number of items, then the places of the keys
COPY = 9  # v: a copy of an array on the stack, in C order
GIVE = 10  # what is on the stack is the result

RECIPE = f"""
; the result; or null, with an exception or, if a kernel gave up, without; or what says `again` where no room is ready
define internal ptr @recipe(ptr %words, ptr %given, ptr %kept) {{
entry:
  %hold = load ptr, ptr SLOT(Py_IncRef)
  %drop = load ptr, ptr SLOT(Py_DecRef)
  %offset = load i64, ptr SLOT(tuple.items)
  %many = load i64, ptr %words
  %count.at = getelementptr inbounds i64, ptr %words, i64 1
  %count = load i64, ptr %count.at
  %constants.at = getelementptr inbounds i64, ptr %words, i64 2
  %constants = load i64, ptr %constants.at
  %depth.at = getelementptr inbounds i64, ptr %words, i64 3
  %depth = load i64, ptr %depth.at
  %widest.at = getelementptr inbounds i64, ptr %words, i64 4
  %widest = load i64, ptr %widest.at
  %own = sub i64 %many, %constants
  %v = alloca ptr, i64 %many
  %stack = alloca ptr, i64 %depth
  %sent = alloca ptr, i64 %widest
  %pc = alloca ptr
  %top = alloca i64
  %v.bytes = mul i64 %many, 8
  call void @llvm.memset.p0.i64(ptr %v, i8 0, i64 %v.bytes, i1 false)
  %constants.bytes = mul i64 %constants, 8
  %constants.to = getelementptr inbounds ptr, ptr %v, i64 %own
  call void @llvm.memcpy.p0.p0.i64(ptr %constants.to, ptr %kept, i64 %constants.bytes, i1 false)
  %start = getelementptr inbounds i64, ptr %words, i64 {HEAD}
  store ptr %start, ptr %pc
  store i64 0, ptr %top
  br label %argument
argument:
  %a = phi i64 [ 0, %entry ], [ %a.next, %taken ]
  %a.left = icmp slt i64 %a, %count
  br i1 %a.left, label %taken, label %step
taken:
  %a.from = getelementptr inbounds ptr, ptr %given, i64 %a
  %a.value = load ptr, ptr %a.from
  call void %hold(ptr %a.value)
  %a.to = getelementptr inbounds ptr, ptr %v, i64 %a
  store ptr %a.value, ptr %a.to
  %a.next = add i64 %a, 1
  br label %argument
step:
  %at = load ptr, ptr %pc
  %op = load i64, ptr %at
WORD(%one, %at, 1)
  switch i64 %op, label %none [ i64 {MAKE}, label %make
    i64 {CALL}, label %call
    i64 {STOP}, label %stop
    i64 {ROOM}, label %room
    i64 {BACK}, label %back
    i64 {PUSH}, label %push
    i64 {TUPLE}, label %tuple
    i64 {DICT}, label %dict
    i64 {COPY}, label %copy
    i64 {GIVE}, label %give ]
go:
  %width = phi i64 [ %make.width, %made ], [ %call.width, %called ], [ 2, %stop ], [ 5, %room.next ],
    [ 3, %back ], [ 2, %pushing ], [ 2, %tupled ], [ %dict.width, %filled ]
  %after = getelementptr inbounds i64, ptr %at, i64 %width
  store ptr %after, ptr %pc
  br label %step
make:
WORD(%descr.word, %at, 2)
WORD(%rank, %at, 3)
  %descr = inttoptr i64 %descr.word to ptr
  call void %hold(ptr %descr)
  %dims = getelementptr inbounds i64, ptr %at, i64 4
  %nd = trunc i64 %rank to i32
  %new = load ptr, ptr OWN(PyArray_NewFromDescr)
  %class = load ptr, ptr SLOT(ndarray)
  %array = call ptr %new(ptr %class, ptr %descr, i32 %nd, ptr %dims, ptr null, ptr null, i32 0, ptr null)
  %unmade = icmp eq ptr %array, null
  br i1 %unmade, label %none, label %made
made:
  %array.to = getelementptr inbounds ptr, ptr %v, i64 %one
  store ptr %array, ptr %array.to
  %make.width = add i64 %rank, 4
  br label %go
call:
WORD(%args, %at, 2)
WORD(%results, %at, 3)
WORD(%first, %at, 4)
  %list = getelementptr inbounds i64, ptr %at, i64 5
  br label %send
send:
  %s = phi i64 [ 0, %call ], [ %s.next, %sending ]
  %s.left = icmp slt i64 %s, %args
  br i1 %s.left, label %sending, label %run
sending:
  %s.at = getelementptr inbounds i64, ptr %list, i64 %s
  %s.place = load i64, ptr %s.at
  %s.from = getelementptr inbounds ptr, ptr %v, i64 %s.place
  %s.value = load ptr, ptr %s.from
  %s.to = getelementptr inbounds ptr, ptr %sent, i64 %s
  store ptr %s.value, ptr %s.to
  %s.next = add i64 %s, 1
  br label %send
run:
  %function = inttoptr i64 %one to ptr
  %result = call ptr %function(ptr null, ptr %sent, i64 %args)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %none, label %unpack
unpack:
  %items = getelementptr inbounds i8, ptr %result, i64 %offset
  br label %part
part:
  %r = phi i64 [ 0, %unpack ], [ %r.next, %parted ]
  %r.left = icmp slt i64 %r, %results
  br i1 %r.left, label %parted, label %called
parted:
  %r.from = getelementptr inbounds ptr, ptr %items, i64 %r
  %r.value = load ptr, ptr %r.from
  call void %hold(ptr %r.value)
  %r.place = add i64 %first, %r
  %r.to = getelementptr inbounds ptr, ptr %v, i64 %r.place
  store ptr %r.value, ptr %r.to
  %r.next = add i64 %r, 1
  br label %part
called:
  call void %drop(ptr %result)
  %call.width = add i64 %args, 5
  br label %go
stop:
VALUE(%flag, %one)
  %asks = load ptr, ptr SLOT(PyObject_IsTrue)
  %truth = call i32 %asks(ptr %flag)
  %untrue = icmp eq i32 %truth, 0
  br i1 %untrue, label %go, label %none
"""
RECIPE += """\
room:
WORD(%room.items, %at, 2)
WORD(%room.first, %at, 3)
WORD(%pool.place, %at, 4)
VALUE(%pool, %pool.place)
  %measures = load ptr, ptr OWN(PyList_Size)
  %size = call i64 %measures(ptr %pool)
  %stocked = icmp sgt i64 %size, 0
  br i1 %stocked, label %room.last, label %unready
room.last:
  %last = sub i64 %size, 1
  %gets = load ptr, ptr OWN(PyList_GetItem)
  %got = call ptr %gets(ptr %pool, i64 %last)
  call void %hold(ptr %got)
  %got.to = getelementptr inbounds ptr, ptr %v, i64 %one
  store ptr %got, ptr %got.to
  %cuts = load ptr, ptr OWN(PyList_SetSlice)
  %cut = call i32 %cuts(ptr %pool, i64 %last, i64 %size, ptr null)
  %uncut = icmp ne i32 %cut, 0
  br i1 %uncut, label %none, label %room.is
room.is:
FIELD(%got.class, ptr, %got, 8)
FIELD(%got.many, i64, %got, 16)
  %tuples = load ptr, ptr OWN(tuple)
  %is.tuple = icmp eq ptr %got.class, %tuples
  %is.long = icmp eq i64 %got.many, %room.items
  %is.room = and i1 %is.tuple, %is.long
  %got.items = getelementptr inbounds i8, ptr %got, i64 %offset
  br i1 %is.room, label %room.next, label %unready
room.next:
  %q = phi i64 [ 0, %room.is ], [ %q.next, %room.item ]
  %q.left = icmp slt i64 %q, %room.items
  br i1 %q.left, label %room.item, label %go
room.item:
  %q.from = getelementptr inbounds ptr, ptr %got.items, i64 %q
  %q.value = load ptr, ptr %q.from
  call void %hold(ptr %q.value)
  %q.place = add i64 %room.first, %q
  %q.to = getelementptr inbounds ptr, ptr %v, i64 %q.place
  store ptr %q.value, ptr %q.to
  %q.next = add i64 %q, 1
  br label %room.next
back:
WORD(%back.place, %at, 2)
VALUE(%back.list, %back.place)
VALUE(%back.value, %one)
  %appends = load ptr, ptr OWN(PyList_Append)
  %appended = call i32 %appends(ptr %back.list, ptr %back.value)
  %is.back = icmp eq i32 %appended, 0
  br i1 %is.back, label %go, label %none
push:
VALUE(%shared, %one)
  call void %hold(ptr %shared)
  br label %pushing
copy:
VALUE(%original, %one)
FIELD(%copy.class, ptr, %original, 8)
  %copy.wanted = load ptr, ptr SLOT(ndarray)
  %is.array = icmp eq ptr %copy.class, %copy.wanted
  br i1 %is.array, label %copy.array, label %unready
copy.array:
  %copies = load ptr, ptr OWN(PyArray_NewCopy)
  %copied = call ptr %copies(ptr %original, i32 0)
  %uncopied = icmp eq ptr %copied, null
  br i1 %uncopied, label %none, label %pushing
pushing:
  %pushed = phi ptr [ %shared, %push ], [ %copied, %copy.array ]
  %push.top = load i64, ptr %top
  %push.to = getelementptr inbounds ptr, ptr %stack, i64 %push.top
  store ptr %pushed, ptr %push.to
  %push.next = add i64 %push.top, 1
  store i64 %push.next, ptr %top
  br label %go
tuple:
  %tuple.new = load ptr, ptr SLOT(PyTuple_New)
  %pair = call ptr %tuple.new(i64 %one)
  %no.pair = icmp eq ptr %pair, null
  br i1 %no.pair, label %none, label %tupled
tupled:
  %tuple.top = load i64, ptr %top
  %tuple.base = sub i64 %tuple.top, %one
  %tuple.from = getelementptr inbounds ptr, ptr %stack, i64 %tuple.base
  %tuple.to = getelementptr inbounds i8, ptr %pair, i64 %offset
  %tuple.bytes = mul i64 %one, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %tuple.to, ptr %tuple.from, i64 %tuple.bytes, i1 false)
  store ptr %pair, ptr %tuple.from
  %tuple.next = add i64 %tuple.base, 1
  store i64 %tuple.next, ptr %top
  br label %go
dict:
  %dict.new = load ptr, ptr SLOT(PyDict_New)
  %named = call ptr %dict.new()
  %no.dict = icmp eq ptr %named, null
  br i1 %no.dict, label %none, label %keys
keys:
  %dict.top = load i64, ptr %top
  %dict.base = sub i64 %dict.top, %one
  %dict.from = getelementptr inbounds ptr, ptr %stack, i64 %dict.base
  %keys.at = getelementptr inbounds i64, ptr %at, i64 2
  %puts = load ptr, ptr SLOT(PyDict_SetItem)
  br label %key
key:
  %k = phi i64 [ 0, %keys ], [ %k.next, %keyed ]
  %k.left = icmp slt i64 %k, %one
  br i1 %k.left, label %keyed, label %emptied
keyed:
  %k.at = getelementptr inbounds i64, ptr %keys.at, i64 %k
  %k.place = load i64, ptr %k.at
VALUE(%k.name, %k.place)
  %k.from = getelementptr inbounds ptr, ptr %dict.from, i64 %k
  %k.value = load ptr, ptr %k.from
  %k.put = call i32 %puts(ptr %named, ptr %k.name, ptr %k.value)
  %k.next = add i64 %k, 1
  %k.good = icmp eq i32 %k.put, 0
  br i1 %k.good, label %key, label %undone
undone:
  call void %drop(ptr %named)
  br label %none
emptied:
  %e = phi i64 [ 0, %key ], [ %e.next, %emptying ]
  %e.left = icmp slt i64 %e, %one
  br i1 %e.left, label %emptying, label %filled
emptying:
  %e.from = getelementptr inbounds ptr, ptr %dict.from, i64 %e
  %e.value = load ptr, ptr %e.from
  call void %drop(ptr %e.value)
  %e.next = add i64 %e, 1
  br label %emptied
filled:
  store ptr %named, ptr %dict.from
  %dict.next = add i64 %dict.base, 1
  store i64 %dict.next, ptr %top
  %dict.width = add i64 %one, 2
  br label %go
give:
  %whole = load ptr, ptr %stack
  store i64 0, ptr %top
  br label %done
unready:
  %again = load ptr, ptr OWN(again)
  br label %done
none:
  br label %done
done:
  %answer = phi ptr [ %whole, %give ], [ %again, %unready ], [ null, %none ]
  %rest = load i64, ptr %top
  br label %unstack
unstack:
  %u = phi i64 [ %rest, %done ], [ %u.next, %unstacked ]
  %u.left = icmp sgt i64 %u, 0
  br i1 %u.left, label %unstacked, label %let
unstacked:
  %u.next = sub i64 %u, 1
  %u.from = getelementptr inbounds ptr, ptr %stack, i64 %u.next
  %u.value = load ptr, ptr %u.from
  call void %drop(ptr %u.value)
  br label %unstack
let:
  %d = phi i64 [ 0, %unstack ], [ %d.next, %dropped ]
  %d.left = icmp slt i64 %d, %own
  br i1 %d.left, label %look, label %end
look:
  %d.from = getelementptr inbounds ptr, ptr %v, i64 %d
  %d.value = load ptr, ptr %d.from
  %d.absent = icmp eq ptr %d.value, null
  br i1 %d.absent, label %dropped, label %dropping
dropping:
  call void %drop(ptr %d.value)
  br label %dropped
dropped:
  %d.next = add i64 %d, 1
  br label %let
end:
  ret ptr %answer
}
"""
