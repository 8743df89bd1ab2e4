"""Which loops may run in parts, and what each part then needs for itself."""

from __future__ import annotations

from collections.abc import Callable

from gradlang.loops.ir import Buffer, Code, For, Value
from gradlang.plan.affine import positions_of
from gradlang.plan.apart import Apart, apart

N, M = 40, 7


def loop_of(write: Callable[[Code, Value], None], temporary: tuple[Buffer, ...] = (), carried: bool = False) -> Apart | None:
    """How the steps of a loop that is written so can be parted."""
    code = Code()
    with code.loop(code.whole(0), code.whole(N), "c", apart=not carried) as c:
        write(code, c)
    loop = code.body[-1]
    assert isinstance(loop, For)
    return apart(code.body, loop, positions_of(code.body), temporary)


def times(code: Code, a: Value, factor: int, b: Value | int = 0) -> Value:
    more = b if isinstance(b, Value) else code.whole(b)
    return code.op("iadd", code.op("imul", a, code.whole(factor)), more)


def test_entries_of_its_own() -> None:
    out = Buffer("out", "f", writable=True)

    def rows(code: Code, c: Value) -> None:
        with code.loop(code.whole(0), code.whole(M)) as j:
            code.store(out, times(code, c, M, j), code.real(1.0))

    def columns(code: Code, c: Value) -> None:
        with code.loop(code.whole(0), code.whole(M)) as j:
            code.store(out, times(code, j, N, c), code.real(1.0))

    def backwards(code: Code, c: Value) -> None:
        code.store(out, code.op("isub", code.whole(N - 1), c), code.real(1.0))

    def overlapping(code: Code, c: Value) -> None:
        with code.loop(code.whole(0), code.whole(M + 1)) as j:
            code.store(out, times(code, c, M, j), code.real(1.0))

    def crossing(code: Code, c: Value) -> None:
        with code.loop(code.whole(0), code.whole(M)) as j:
            code.store(out, times(code, j, N - 1, c), code.real(1.0))

    def neighbours(code: Code, c: Value) -> None:
        code.store(out, c, code.load(out, code.op("iadd", c, code.whole(1))))

    def anywhere(code: Code, c: Value) -> None:
        code.store(out, code.load(Buffer("p", "i"), c), code.real(1.0))

    for write in (rows, columns, backwards):
        assert loop_of(write) == Apart({}, frozenset(), {}), write
    for write in (overlapping, crossing, neighbours, anywhere):
        assert loop_of(write) is None, write
    assert loop_of(rows, carried=True) is None


def test_blocks_have_entries_of_their_own() -> None:
    out, room = Buffer("out", "f", writable=True), Buffer("t", "f", writable=True)

    def write(size: int) -> Callable[[Code, Value], None]:
        def steps(code: Code, c: Value) -> None:
            first = code.op("imul", c, code.whole(16))
            last = code.op("imin", code.op("iadd", first, code.whole(size)), code.whole(16 * N - 5))
            for _ in range(2):
                with code.loop(first, last) as k:
                    at = code.op("isub", k, first)
                    code.store(room, at, code.real(2.0))
                    code.store(out, k, code.load(room, at))

        return steps

    assert loop_of(write(16), (room,)) == Apart({}, frozenset({room}), {})
    assert loop_of(write(17), (room,)) is None
    assert loop_of(write(16)) is None  # others may look at the memory


def test_what_is_added_to() -> None:
    out, p, x = Buffer("out", "f", writable=True), Buffer("p", "i"), Buffer("x", "f")

    def places(op: str) -> Callable[[Code, Value], None]:
        def steps(code: Code, c: Value) -> None:
            at = code.load(p, c)
            code.store(out, at, code.op(op, code.load(out, at), code.load(x, c)))

        return steps

    def also_read(code: Code, c: Value) -> None:
        places("add")(code, c)
        code.store(Buffer("y", "f", writable=True), c, code.load(out, code.whole(0)))

    def moved(code: Code, c: Value) -> None:
        code.store(out, code.load(p, c), code.op("add", code.load(out, c), code.load(x, c)))

    def both(code: Code, c: Value) -> None:
        places("add")(code, c)
        places("mul")(code, c)

    for op in ("add", "mul", "maximum"):
        assert loop_of(places(op)) == Apart({out: op}, frozenset(), {})
    for write in (places("sub"), also_read, moved, both):
        assert loop_of(write) is None


def test_cells() -> None:
    def total(op: str, read: bool) -> Apart | None:
        code = Code()
        cell = code.cell(code.real(0.0), "total")
        with code.loop(code.whole(0), code.whole(N)) as c:
            own = code.cell(code.real(0.0))
            code.update(own, "", code.op("itof", c))
            code.update(cell, op, code.read(cell if read else own))
        loop = code.body[-1]
        assert isinstance(loop, For)
        return apart(code.body, loop, positions_of(code.body), ())

    found = total("add", False)
    assert found is not None and list(found.cells.values()) == ["add"]
    assert total("", False) is None  # the last step sets it
    assert total("add", True) is None


def test_a_room_that_is_carried_from_step_to_step_is_not_private() -> None:
    room = Buffer("t", "f", writable=True)

    def filled_less_and_less(code: Code, c: Value) -> None:
        with code.loop(code.whole(0), code.op("isub", code.whole(N), c)) as k:
            code.store(room, k, code.real(1.0))
        with code.loop(code.whole(0), code.whole(N)) as k:
            code.store(Buffer("out", "f", writable=True), times(code, c, N, k), code.load(room, k))

    def alternating(code: Code, c: Value) -> None:
        code.store(room, code.op("imod", c, code.whole(2)), code.real(1.0))

    assert loop_of(filled_less_and_less, (room,)) is None
    assert loop_of(alternating, (room,)) is None


def test_a_loop_inside_whose_end_goes_by_another_one_inside_touches_the_same_in_every_step():
    """As the columns of a triangle by its rows; but not where the end goes by the step itself."""
    for around in (True, False):
        code, room, out = Code(), Buffer("room", "f", True), Buffer("out", "f", True)
        with code.loop(code.whole(0), code.whole(8)) as step:
            with code.loop(code.whole(0), code.whole(16)) as k:
                code.store(room, k, code.op("itof", step))
            with code.loop(code.whole(0), code.whole(4)) as row:
                end = code.op("imul", row if around else step, code.whole(2))
                with code.loop(code.whole(0), end) as column:
                    code.store(out, code.op("iadd", code.op("imul", step, code.whole(16)), column), code.load(room, column))
        (loop,) = (s for s in code.body if isinstance(s, For))
        how = apart(code.body, loop, positions_of(code.body), {room})
        assert (how is not None and room in how.private) is around
