"""Scalar tapes as machine code of x86-64, written by table: no compiler, and a few hundredths of a microsecond a line.

The code is one straight line. Every value has a slot in an array of float64 that register rbx points at; an instruction of
the tape loads its first operand into xmm0, unless it is there already, works on it and stores it, unless only the next one
needs it. All machine instructions stand in words of eight bytes, most of which end in a slot's place, so that NumPy writes them
as whole arrays. Functions such as exp are called by addresses that stand in the same array. On machines with AVX2 and FMA they
are our own, which take four arguments at once (`plan/x86_vectors.py`, `plan/lanes.py`); elsewhere, and for arguments beyond
the limits of these, they are those of the C library that Python's math uses, so that results are the same bits. Infinities
and nans go on.

Encodings are those of Intel's manual (Software Developer's Manual, volume 2); all but the calls of our own functions is SSE2,
which every such machine has. Truth values are masks: all bits set, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradlang.ir.columns import Columns, of_tape
from gradlang.ir.tape import Tape
from gradlang.plan.lanes import LANES
from gradlang.plan.straight import TWINS, Straight, straight
from gradlang.plan.x86_routines import LINE, routines
from gradlang.record import record

Words = np.ndarray[Any, np.dtype[np.uint64]]
A, B, C, OUT, *MORE = range(4 + LANES)  # what a word ends in: the place of an operand, of the result, of a lane's argument


@record
class Word:
    """Eight bytes of code: four (or eight, as a `whole` word) that are given and a place of four in the array of values."""

    bytes: bytes
    ends: int | str | None = None  # an operand, OUT, or the name of a place in the head of the array


def place(text: str, ends: int | str) -> Word:
    made = bytes.fromhex(text)
    assert len(made) == 4
    return Word(made, ends)


NOPS = {0: "", 2: "66 90", 3: "0F 1F 00", 4: "0F 1F 40 00", 5: "0F 1F 44 00 00", 6: "66 0F 1F 44 00 00"}


def whole(text: str) -> Word:
    made = bytes.fromhex(text)
    return Word(made + bytes.fromhex(NOPS[8 - len(made)]))


LOAD = place("F2 0F 10 83", A)  # movsd xmm0, [rbx + a]
LOAD_B = place("F2 0F 10 8B", B)  # movsd xmm1, [rbx + b]
LOAD_C = place("F2 0F 10 93", C)  # movsd xmm2, [rbx + c]
STORE = place("F2 0F 11 83", OUT)  # movsd [rbx + out], xmm0
ENTER = whole("F3 0F 1E FA 53 48 89 FB")  # endbr64, for systems that ask for it; push rbx; mov rbx, rdi
NOTHING = Word(b"\x90" * 8)
AHEAD = 16384  # bytes
FETCH = Word(bytes.fromhex("0F 18 15") + AHEAD.to_bytes(4, "little") + b"\x90")  # prefetcht1 [rip + AHEAD]
CACHED = 2**18  # bytes of code that stay in the cache of the second level
LEAVE = whole("31 C0 5B C3 90 90")  # xor eax, eax; pop rbx; ret


def compare(predicate: int) -> tuple[Word, ...]:
    return LOAD_B, whole(f"F2 0F C2 C1 {predicate:02X}")  # cmpsd xmm0, xmm1, predicate


def call(name: str) -> Word:
    return place("66 90 FF 93", name)  # call [rbx + name]


# The remainder m of C has the sign of the dividend: m + b where m and b have different signs, a zero with the sign of b where
# m is zero.
MOD = (
    LOAD_B,
    call("fmod"),
    LOAD_B,
    whole("66 0F 57 D2 66 0F 28 D8"),  # xorpd xmm2, xmm2; movapd xmm3, xmm0
    whole("F2 0F C2 DA 01"),  # cmpltsd xmm3, xmm2
    whole("66 0F 28 E1"),  # movapd xmm4, xmm1
    whole("F2 0F C2 E2 01"),  # cmpltsd xmm4, xmm2
    whole("66 0F 57 DC 66 0F 54 D9"),  # xorpd xmm3, xmm4; andpd xmm3, xmm1: b or 0
    whole("F2 0F 58 D8 66 0F 28 E0"),  # addsd xmm3, xmm0; movapd xmm4, xmm0
    whole("F2 0F C2 E2 00"),  # cmpeqsd xmm4, xmm2
    place("66 0F 54 8B", "sign"),  # andpd xmm1, [sign]
    whole("66 0F 54 CC 66 0F 55 E3"),  # andpd xmm1, xmm4; andnpd xmm4, xmm3
    whole("66 0F 28 C4 66 0F 56 C1"),  # movapd xmm0, xmm4; orpd xmm0, xmm1
)

# The whole quotient goes by the remainder, as in Python and NumPy: (a - m)/b, one less where m + b was the remainder, brought
# to the whole number that it is but for rounding; a zero has the sign of a/b, and so has all of it where b is zero.
FLOORDIV = (
    place("F2 0F 11 83", "kept"),  # movsd [kept], xmm0: a
    LOAD_B,
    call("fmod"),
    LOAD_B,
    place("F2 0F 10 93", "kept"),  # movsd xmm2, [kept]
    whole("66 0F 57 ED 66 0F 28 D8"),  # xorpd xmm5, xmm5; movapd xmm3, xmm0
    whole("F2 0F C2 DD 01"),  # cmpltsd xmm3, xmm5
    whole("66 0F 28 E1"),  # movapd xmm4, xmm1
    whole("F2 0F C2 E5 01"),  # cmpltsd xmm4, xmm5
    whole("66 0F 57 DC 66 0F 28 E0"),  # xorpd xmm3, xmm4; movapd xmm4, xmm0
    whole("F2 0F C2 E5 04"),  # cmpneqsd xmm4, xmm5
    whole("66 0F 54 DC"),  # andpd xmm3, xmm4
    place("66 0F 54 9B", "one"),  # andpd xmm3, [one]
    whole("F2 0F 5C D0 F2 0F 5E D1"),  # subsd xmm2, xmm0; divsd xmm2, xmm1
    whole("F2 0F 5C D3 66 0F 28 C2"),  # subsd xmm2, xmm3; movapd xmm0, xmm2
    place("F2 0F 11 93", "quotient"),  # movsd [quotient], xmm2
    call("floor"),
    place("F2 0F 10 93", "quotient"),  # movsd xmm2, [quotient]
    whole("66 0F 28 DA F2 0F 5C D8"),  # movapd xmm3, xmm2; subsd xmm3, xmm0
    place("F2 0F 10 A3", "half"),  # movsd xmm4, [half]
    whole("F2 0F C2 E3 01"),  # cmpltsd xmm4, xmm3
    place("66 0F 54 A3", "one"),  # andpd xmm4, [one]
    whole("F2 0F 58 C4 66 0F 57 ED"),  # addsd xmm0, xmm4; xorpd xmm5, xmm5
    place("F2 0F 10 8B", "kept"),  # movsd xmm1, [kept]
    place("F2 0F 5E 8B", B),  # divsd xmm1, [b]: a/b
    whole("66 0F 28 D9"),  # movapd xmm3, xmm1
    place("66 0F 54 9B", "sign"),  # andpd xmm3, [sign]
    whole("F2 0F C2 D5 00"),  # cmpeqsd xmm2, xmm5
    whole("66 0F 54 DA 66 0F 55 D0"),  # andpd xmm3, xmm2; andnpd xmm2, xmm0
    place("F2 0F 10 83", B),  # movsd xmm0, [b]
    whole("66 0F 56 D3"),  # orpd xmm2, xmm3
    whole("F2 0F C2 C5 00"),  # cmpeqsd xmm0, xmm5
    whole("66 0F 54 C8 66 0F 55 C2"),  # andpd xmm1, xmm0; andnpd xmm0, xmm2
    whole("66 0F 56 C1"),  # orpd xmm0, xmm1
)

# What is done to xmm0, which holds the first operand.
BODIES: dict[str, tuple[Word, ...]] = {
    "add": (place("F2 0F 58 83", B),),
    "sub": (place("F2 0F 5C 83", B),),
    "mul": (place("F2 0F 59 83", B),),
    "div": (place("F2 0F 5E 83", B),),
    "sqrt": (whole("F2 0F 51 C0"),),
    "neg": (place("66 0F 57 83", "sign"),),  # xorpd
    "abs": (place("66 0F 54 83", "rest"),),  # andpd
    "real": (place("66 0F 54 83", "one"),),
    "logical_not": (place("66 0F 57 83", "all"),),
    "logical_and": (LOAD_B, whole("66 0F 54 C1")),
    "logical_or": (LOAD_B, whole("66 0F 56 C1")),
    "less": compare(1),
    "less_equal": compare(2),
    "equal": compare(0),
    "not_equal": compare(4),
    # lea rdi, [rbx + b]; lea rsi, [rbx + c]: where the two results go
    "sincos": (place("90 48 8D BB", B), place("90 48 8D B3", C), call("sincos")),
    "mod": MOD,
    "floordiv": FLOORDIV,
    # andpd xmm1, xmm0; andnpd xmm0, xmm2; orpd xmm0, xmm1
    "where": (LOAD_B, LOAD_C, whole("66 0F 54 C8 66 0F 55 C2"), whole("66 0F 56 C1")),
}
UNARY_CALLS = (
    "exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh cbrt floor ceil erf erfc"
).split()
CALLS = {**{n: n for n in UNARY_CALLS}, "round": "rint", "pow": "pow", "atan2": "atan2", "hypot": "hypot"}
BINARY_CALLS = {"pow", "atan2", "hypot"}
BODIES.update({op: (LOAD_B, call(f)) if op in BINARY_CALLS else (call(f),) for op, f in CALLS.items()})
# Our own functions: lanes go into xmm0 and xmm1, results come from ymm0 and ymm1; afterwards the upper halves are cleared,
# which SSE code would otherwise wait for.
LOAD_LANES = (
    place("C5 FB 10 83", MORE[0]),  # vmovsd xmm0, [rbx + first]
    place("C5 F9 16 83", MORE[1]),  # vmovhpd xmm0, xmm0, [rbx + second]
    place("C5 FB 10 8B", MORE[2]),  # vmovsd xmm1, [rbx + third]
    place("C5 F1 16 8B", MORE[3]),  # vmovhpd xmm1, xmm1, [rbx + fourth]
)
CLEAR = whole("C5 F8 77 90")  # vzeroupper
STORE_LANES = place("C5 FD 11 83", OUT)  # vmovupd [rbx + out], ymm0
STORE_BOTH = (place("C5 FD 11 83", B), place("C5 FD 11 8B", C))  # vmovupd [rbx + b], ymm0; vmovupd [rbx + c], ymm1
OWN = frozenset(UNARY_CALLS) - {"floor", "ceil"} | set(TWINS)
ENTER_NEAR = (whole("C5 FC 57 C0"), place("C5 FC 11 83", "far"), CLEAR)  # vxorps ymm0, ymm0, ymm0; vmovups [rbx + far], ymm0
LEAVE_NEAR = (
    place("C5 FC 10 83", "far"),  # vmovups ymm0, [rbx + far]
    whole("C5 FD 50 C0 C5 F8 77 90"),  # vmovmskpd eax, ymm0; vzeroupper
    whole("5B C3 90 90"),  # pop rbx; ret
)
SWAPPED = {"greater": "less", "greater_equal": "less_equal"}
EITHER = frozenset({"add", "mul", "equal", "not_equal", "logical_and", "logical_or"})  # operands may change places
# What stands at the head of the array of values: masks, numbers, and two places for what a body keeps over a call.
MASKS = {"sign": 1 << 63, "rest": (1 << 63) - 1, "all": (1 << 64) - 1}
HEAD = {**MASKS, "one": 0x3FF0000000000000, "half": 0x3FE0000000000000, "kept": 0, "quotient": 0, "far": 0, "far, rest": 0}
FAR = 16 * list(HEAD).index("far")
KNOWN = frozenset(BODIES) | set(SWAPPED) | {"input", "const", "mark"}


@record
class MachineCode:
    """`words` is a function of one argument, the address of an array of `size` numbers of eight bytes, at a multiple of 16.
    The array begins with `head`; from `calls` on stand the addresses of `functions`, from `inputs` on the inputs, from
    `constants` on `numbers` (as bits), in the end from `outputs` on the outputs. Truth values are masks: 0 or a nan. It gives
    0, or another number if an argument was beyond the limit of a function of our own. `own` says for such functions how
    many bytes after the beginning of the code they stand; the others are those of the C library."""

    words: Words
    size: int
    head: Words
    functions: tuple[str, ...]
    inputs: int
    constants: int
    numbers: Words
    outputs: int
    own: Mapping[str, int]

    @property
    def calls(self) -> int:
        return len(self.head)


def machine_code(tape: Tape | Columns, inputs: Iterable[str], vectors: bool = False) -> MachineCode:
    """The code of a tape, which may be columns, whose ops are all in KNOWN. With `vectors` functions are our own where there
    are such."""
    columns = tape if isinstance(tape, Columns) else of_tape(tape)
    names = {n: k for k, n in enumerate(inputs)}
    blob, own = b"", dict[str, int]()
    if vectors:
        found = OWN & columns.ops()
        blob, starts = routines(found.union(t for t, pair in TWINS.items() if found.issuperset(pair)), FAR)
        own = {op: start for op, start in starts.items() if starts.keys() >= set(TWINS.get(op, ()))}
    line = straight(columns, SWAPPED, EITHER, own.keys())
    occurring = set(np.flatnonzero(np.bincount(line.codes)).tolist())
    bodies = [(called(op) if op in own else BODIES[op]) if k in occurring else () for k, op in enumerate(line.ops)]
    functions = tuple(dict.fromkeys(str(w.ends) for b in bodies for w in b if isinstance(w.ends, str) and w.ends not in HEAD))
    head = np.repeat(np.array(list(HEAD.values()), np.uint64), 2)  # 16 bytes each, as the machine reads them
    places = {m: 2 * k for k, m in enumerate(HEAD)} | {f: len(head) + k for k, f in enumerate(functions)}
    first = len(head) + len(functions)
    base = first + len(names)
    numbers: list[int] = []
    slots, size = line.slots, base
    for i in line.leaves:
        op, attrs, _ = columns.kinds.rows[columns.kind[i]]
        if op == "input":
            slots[i] = first + names[attrs[0]]
        else:
            slots[i] = base + len(numbers)
            numbers.append(bits(attrs[0]))
    size = base + len(numbers)
    outputs = size + len(line.kept) + len(line.groups.rooms)
    slots[line.kept] = np.arange(size, size + len(line.kept))
    used = np.flatnonzero(line.groups.rooms >= 0)
    slots[line.groups.rooms[used]] = size + len(line.kept) + used
    for i, a in line.aliases:
        slots[i] = slots[a]
    words = assemble(line, bodies, places)
    copied = [w for k, (_, i) in enumerate(columns.outputs) for w in (at(LOAD, slots[i]), at(STORE, outputs + k))]
    start, end = [number(ENTER)], [number(LEAVE)]
    if len(line.groups.rooms):
        start += [at(w, places["far"] if w.ends else 0) for w in ENTER_NEAR]
        end = [at(w, places["far"] if w.ends else 0) for w in LEAVE_NEAR]
    code = fetched(np.concatenate([start, words, np.array(copied + end, np.uint64)]))
    code = np.append(code, np.full(-len(code) % (LINE // 8), number(NOTHING)))
    own = {call_of(op): 8 * len(code) + offset for op, offset in own.items() if call_of(op) in functions}
    code = np.append(code, np.frombuffer(blob, np.uint64))
    size = outputs + len(columns.outputs)
    return MachineCode(code, size, head, functions, first, base, np.array(numbers, np.uint64), outputs, own)


def call_of(op: str) -> str:
    """What the function of ours for an op is called, apart from that of the C library."""
    return f"{op} of four"


def called(op: str) -> tuple[Word, ...]:
    """A call of a function of ours."""
    return *LOAD_LANES, call(call_of(op)), *(STORE_BOTH if op in TWINS else (STORE_LANES,)), CLEAR


def bits(value: float | bool) -> int:
    if isinstance(value, bool):
        return MASKS["all"] if value else 0
    return int(np.float64(value).view(np.uint64))


def assemble(line: Straight, bodies: list[tuple[Word, ...]], places: dict[str, int]) -> Words:
    """The words: for every step a load unless its operand is in xmm0, its body, and a store if it needs one; a call of a
    function of ours does both itself."""
    loaded = ~line.chained & (line.group < 0)
    lengths = np.array([len(b) for b in bodies], np.int64)[line.codes] + loaded + line.stored
    ends = np.cumsum(lengths)
    code = np.empty(int(lengths.sum()), np.uint64)
    starts = ends - lengths
    lanes = line.slots[line.groups.arguments].astype(np.uint64) << np.uint64(35)
    places_of = [line.slots[column].astype(np.uint64) << np.uint64(35) for column in (*line.operands, line.nodes)]
    code[starts[loaded]] = places_of[A][loaded] | number(LOAD)
    code[ends[line.stored] - 1] = places_of[OUT][line.stored] | number(STORE)
    starts += loaded
    for k, body in enumerate(bodies):
        here = np.flatnonzero(line.codes == k)
        for j, word in enumerate(body):
            if isinstance(word.ends, int) and word.ends in MORE:
                code[starts[here] + j] = lanes[word.ends - MORE[0]][line.group[here]] | number(word)
            elif isinstance(word.ends, int):
                code[starts[here] + j] = places_of[word.ends][here] | number(word)
            elif word.ends is None:
                code[starts[here] + j] = number(word)
            else:
                code[starts[here] + j] = at(word, places[word.ends])
    return code


def fetched(code: Words) -> Words:
    """Code that does not stay in the cache of the second level, with a word in every line of the cache that asks for the line
    some way ahead: the machine itself fetches straight code from memory several times slower than it runs it."""
    if 8 * len(code) <= CACHED:
        return code
    lines = -(-len(code) // 7)
    out = np.full((lines, 8), number(NOTHING))
    out[:, 0] = number(FETCH)
    rest = np.full(lines * 7, number(NOTHING))
    rest[: len(code)] = code
    out[:, 1:] = rest.reshape(lines, 7)
    return out.ravel()


def at(word: Word, slot: int) -> np.uint64:
    return number(word) | np.uint64(int(slot) << 35)


def number(word: Word) -> np.uint64:
    return np.uint64(int.from_bytes(word.bytes, "little"))
