"""Records behave like frozen dataclasses with slots, but for the guard."""

import copy
import inspect
import pickle

import pytest

from gradlang.record import changed, field, record


@record
class Point:
    """A place."""

    x: int
    y: int = 2

    def sum(self) -> int:
        return self.x + self.y


@record
class Named(Point):
    name: str = "p"


@record(eq=False)
class Own:
    x: int


@record
class Nothing:
    """Without parts."""


def test_parts_defaults_and_text() -> None:
    assert (Point(1).x, Point(1).y, Point(y=5, x=3).sum()) == (1, 2, 8)
    assert repr(Named(1, 2, "q")) == "Named(x=1, y=2, name='q')"
    assert Point.__doc__ == "A place."
    assert Named.__match_args__ == ("x", "y", "name")
    with pytest.raises(TypeError, match="'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'z'"):
        Point(1, z=3)  # type: ignore[call-arg]
    assert str(inspect.signature(Named)) == "(x, y=2, name='p')"


def test_equality_goes_by_parts_and_class() -> None:
    assert Point(1) == Point(1, 2) != Point(2)
    assert Named(1, 2) != Point(1, 2)
    assert len({Point(1), Point(1), Point(1, 3)}) == 2
    assert Own(1) != Own(1)
    assert Nothing() == Nothing() and len({Nothing(), Nothing()}) == 1


def test_there_are_slots_only_copies_and_changed_copies() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.z = 3  # type: ignore[attr-defined]
    assert changed(point, y=7) == Point(1, 7)
    assert pickle.loads(pickle.dumps(Named(1, 2, "q"))) == Named(1, 2, "q") == copy.deepcopy(Named(1, 2, "q"))


@record(frozen=False)
class Open:
    """With parts that may be set, and defaults of its own."""

    x: int
    many: list[int] = field(default_factory=list)
    last: int = 7


@record(frozen=False)
class Longer(Open):
    more: dict[str, int] = field(default_factory=lambda: {"a": 1})


@record(eq=False, frozen=False)
class Bare:
    x: int


def test_defaults_that_are_made_anew() -> None:
    first, second = Open(1), Open(1)
    first.many.append(3)
    assert (second.many, first.last) == ([], 7)
    assert Open(1, [3]) == first != second
    assert Open(1, last=2, many=[4]).many == [4]
    mine = Longer(1)
    mine.more["b"] = 2
    assert Longer(1).more == {"a": 1}
    assert repr(Longer(1)) == "Longer(x=1, many=[], last=7, more={'a': 1})"
    assert changed(first, x=2).many is first.many
    assert pickle.loads(pickle.dumps(first)) == first == copy.deepcopy(first)


def test_parts_that_may_be_set_give_no_hash() -> None:
    one = Open(1)
    one.x = 5
    assert one == Open(5)
    with pytest.raises(TypeError):
        hash(one)
    assert len({Bare(1), Bare(1)}) == 2
