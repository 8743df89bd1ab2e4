"""The passes of large programs, which go over columns, make what those over tapes make, bit for bit."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from large import BINARY, KINDS, SPECIAL, TABLE, UNARY, chain, lines_run, needs_x86, points, program, wide

import gradlang as gl
from gradlang import pipeline
from gradlang.backend.artifact import Job, LargeJob
from gradlang.check.nodes import Nodes
from gradlang.ir import columns as form
from gradlang.ir.columns import Columns, Kinds, columns_among, columns_of, merged, one_by_one, settled
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Instr, Tape
from gradlang.ir.verify import verify
from gradlang.runtime.groups import primitive
from gradlang.runtime.large import Large
from gradlang.source import NOWHERE
from gradlang.transform import column_rules, rewrite
from gradlang.types import SCALAR

# What rules fit, what is folded, choices whose slopes are exact zeros, constants and repeated operands.
ODD = (
    "{0}*1 + -{1}",
    "-{0} + {1}*-1",
    "-(-{0}) - -{1}",
    "{0}/1 - {1}/-1",
    "sqrt({0}*{0})",
    "1/(1 + exp(-{0}))",
    "log(1 + exp({0}))",
    "1 - cos({0})",
    "exp({0}*0.1) - 1",
    "max({0}, 0)*{1}",
    "{0}*{0} + {0}**2",
    "{0}**1 + {0}**0",
    "(2*3 - 1)*{0} + 0.0",
    "({0} if 1 < 2 else {1})",
    "({0} if {0} < {1} else {0})",
    "({0} if {1} > 0 else 0)*{1}",
    "(0 if {0} < 0.3 else {1} if {1} < 0.5 else {0})*{0}",
    "{0}*({1} < 0.5) + ({0} <= {0})",
    "abs({0})*abs(-{0}) - abs(abs({1}))",
    "{0}*(2.5/(3 + {1}**2))",
    "{0}*-{1} + {1}*({0} - 1.5)",
    "-{0}*-{1}",
    "({0}*0 + 1)*{1}",
    "{0} - 0.0 + -0.0",
    "clip({0}, -1, 1)*softplus({1})",
    "0.5*{0} + 1*{1} - {0}*{1}*0.25",
)


def odd(seed: int, lines: int = 40) -> str:
    """Lines of all kinds over the last few values; equal lines occur."""
    r = random.Random(seed)
    names = ["x0", "x1", "x2"]
    out = [f"input {n}" for n in names]
    while len(names) < lines:
        text = r.choice(ODD if r.random() < 0.6 else UNARY + BINARY).format(*(r.choice(names[-6:]) for _ in "ab"))
        out.append(f"t{len(names)} = tanh({text})" if len(names) % 2 else f"t{len(names)} = {text}")
        names.append(f"t{len(names)}")
        if r.random() < 0.1:
            out.append(f"t{len(names)} = {out[-1].split(' = ')[1]}")
            names.append(f"t{len(names)}")
    return "\n".join([*out, "y = " + " + ".join(names[-4:])]) + "\n"


def planned(text: str, goal: pipeline.Goal | None = None, least: int = 1) -> Job:
    """The job of a gradient, as columns if the program has so many nodes and is fit for that."""
    program = gl.loads(text).program
    goal = goal or pipeline.Goal("grad", ("y",), tuple(program.differentiable()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "COLUMNS", least)
        return pipeline.plan(program, goal, program.language, "a test")


def in_columns(text: str) -> bool:
    return isinstance(planned(text), LargeJob)


def both(text: str, goal: pipeline.Goal | None = None) -> tuple[LargeJob, Job]:
    """The job as columns, and as a tape."""
    a, b = (planned(text, goal, least) for least in (1, 10**9))
    assert isinstance(a, LargeJob)
    assert not isinstance(b, LargeJob)
    return a, b


def tape_of(c: Columns) -> Tape:
    rows = [c.kinds.rows[k] for k in c.kind.tolist()]
    instrs = [
        Instr(op, tuple(int(a) for a in args if a >= 0), attrs, t, NOWHERE)
        for (op, attrs, t), args in zip(rows, c.args.T, strict=True)
    ]
    return Tape(tuple(instrs), c.outputs)


def bits(tape: Tape, job: Job, args: list[float]) -> dict[str, str]:
    inputs = {p.name: np.float64(a) for p, a in zip(job.params, args, strict=True)}
    with np.errstate(all="ignore"):
        return {n: repr(float(v)) for n, v in evaluate(primitive(tape, TABLE), TABLE, inputs, {}, number=np.float64).items()}


def same(text: str, rows: list[list[float]], goal: pipeline.Goal | None = None) -> LargeJob:
    a, b = both(text, goal)
    tape = tape_of(a.columns)
    verify(tape, TABLE, "the passes over columns")
    assert a.returns == b.returns
    assert a.params == b.params
    assert a.entry == b.entry
    assert sorted(a.names) == sorted(b.names)
    assert a.truths() == {k for k, n in enumerate(a.names) if n in {b.names[j] for j in b.truths()}}
    for row in rows:
        assert bits(tape, a, row) == bits(b.tape, b, row)
    return a


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_columns_give_the_bits_of_tapes(seed: int) -> None:
    same(program(seed), [points(4, seed), points(4, seed + 1)])


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 10**6))
def test_rewrites_choices_and_constants(seed: int) -> None:
    assume(in_columns(odd(seed)))
    same(odd(seed), [points(3, seed), [0.0, -0.0, 1.0], points(3, seed + 1)])


@pytest.mark.parametrize("text", [chain(50), wide(40), *(f"input a, b\n{k}\n" for k in KINDS.values())])
def test_shapes_and_kinds(text: str) -> None:
    same(text, [[a, b] for a in SPECIAL for b in SPECIAL])


@pytest.mark.parametrize("line", [*ODD, *UNARY, *BINARY])
def test_every_kind_of_line(line: str) -> None:
    """Not only some of them are what goes over columns."""
    same(f"input a, b\ny = {line.format('a', 'b')}\n", [[a, b] for a in SPECIAL for b in SPECIAL])


def test_values_alone_and_values_beside_a_gradient() -> None:
    text = "input a, b\nc = a < b\nd = not c\ns = a*b + c\ny = sin(s)*a + (b if d else s)\n"
    rows = [[0.5, 0.75], [0.75, 0.5], [float("nan"), 1.0]]
    for goal in (
        pipeline.Goal("value", ("c", "y", "d")),
        pipeline.Goal("value", ("y",)),
        pipeline.Goal("grad", ("y",), ("b",), also=("s",)),
    ):
        same(text, rows, goal)


def test_a_leaf_that_nothing_needs_has_a_slope_of_zero() -> None:
    made = same("input a, b, c\nt = a*c\ny = sin(a)\n", [[0.3, 0.4, 0.5]])
    assert Large(made, TABLE)(0.3, 0.4, 0.5)[1]["b"] == 0.0


# ------------------------------------------------------------------ what goes another way
@pytest.mark.parametrize(
    "text",
    [
        "input a\nb = a*a\ny = sin(b) + grad(b*a, a)\n",  # an operator in a formula
        "input a: [3]\ny = sum(a*a)\n",
        "input a\nb = sum([a, a*a])\ny = b*a\n",
    ],
)
def test_others_go_over_tapes(text: str) -> None:
    assert not in_columns(text)


def test_a_rewrite_below_another_one_is_left_to_tapes() -> None:
    """A stable rule may fit or not, as the case is, once what is below is rewritten."""
    assert in_columns("input a\ny = sqrt(a*a)*a\n")
    for below in ("sqrt(sqrt(a*a)*sqrt(a*a))", "log(1 + exp(-(-a)))", "1/(1 + exp(log(exp(a))))"):
        a, b = planned(f"input a\ny = {below}\n"), planned(f"input a\ny = {below}\n", least=10**9)
        if isinstance(a, LargeJob):
            assert bits(tape_of(a.columns), a, [0.3]) == bits(b.tape, b, [0.3])


@pytest.mark.parametrize("kind", ["exact", "stable"])
def test_rules_that_make_a_program_longer_each_time_are_stopped(kind: str) -> None:
    rule = f"rule {kind} longer: abs(x) => max(abs(x), abs(abs(x)))\n"
    lines = "".join(f"t{k + 1} = abs(t{k}) + a\n" for k in range(30))
    text = f"{rule}input a, t0\n{lines}y = t30\n"
    c = planned(text).columns
    assert c is None or len(c) < 50_000
    if c is None:
        assert len(planned(text, least=10**9).tape) < 50_000


def test_only_rules_whose_ops_and_constants_are_there_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[rewrite.Pattern] = []

    def matched(c: Columns, side: rewrite.Pattern) -> Any:
        tried.append(side)
        return original(c, side)

    original = column_rules.matched
    monkeypatch.setattr(column_rules, "matched", matched)
    gl.loads("x = 0.5\nv0 = x*x\n" + "".join(f"v{k} = v{k - 1}*x - 2\n" for k in range(1, 600))).value_and_grad("v599")
    held = {x for side in tried for x in rewrite.held(side)}
    assert tried and held <= {"mul", "add", "sub", 1.0, 2.0}  # the cotangent of the output is 1


def test_small_programs_go_over_tapes() -> None:
    assert not isinstance(planned("input a\ny = sin(a)*a\n", least=pipeline.COLUMNS), LargeJob)


# ------------------------------------------------------------------ the function that is made
@needs_x86
def test_columns_of_a_program_are_those_of_its_nodes() -> None:
    """Whether somebody has looked at them or not; and to write them makes no node."""
    text = "\n".join([program(3, 700), *(f"u{k} = {k}.5*x0 - 0.0 + -{k}.5" for k in range(90)), "z = y + u80\n"])
    fresh, seen = gl.loads(text), gl.loads(text)
    some = seen.program.nodes[::3]
    assert isinstance(fresh.program.nodes, Nodes) and len(some) > 300
    order = list(range(0, len(fresh.program.nodes), 2))
    unseen = list(fresh.program.nodes.made()).count(None)
    made = [columns_among(m.program.nodes, order) for m in (fresh, seen)]
    assert list(fresh.program.nodes.made()).count(None) == unseen > 500
    made.append(columns_of([fresh.program.nodes[k] for k in order], ()))
    rows = [[c.kinds.rows[k] for k in c.kind.tolist()] for c in made]
    assert repr(rows[0]) == repr(rows[1]) == repr(rows[2])
    assert all(np.array_equal(c.args, made[0].args) for c in made)


def test_the_function_its_source_and_its_copy() -> None:
    f = gl.loads(chain(1500)).value_and_grad("y")
    assert isinstance(f.job, LargeJob)
    assert f.job.made is None  # calls need no tape
    wanted = repr(f(a=0.3, x0=0.2))
    assert repr(f(a=float("nan"), x0=0.2)[0]) == "nan"
    copy = pickle.loads(pickle.dumps(f))
    assert repr(copy(a=0.3, x0=0.2)) == wanted
    assert "d_y_d_a = " in f.source
    assert copy.source == f.source


@needs_x86
def test_large_arguments_of_our_own_functions() -> None:
    """The C library takes over, whose results are those of the tape."""
    f = gl.loads(chain(1500)).value_and_grad("y")
    y, slopes = f(a=1e300, x0=1e9)
    _, b = both(chain(1500))
    wanted = Large(b, TABLE, exact=True)(1e300, 1e9)
    assert repr((y, slopes)) == repr(wanted)


# ------------------------------------------------------------------ columns themselves
def made_of(rows: list[tuple[str, tuple[int, ...]]], outputs: list[int]) -> Columns:
    nodes = [Instr(op, args, (f"x{k}",) if not args else (), SCALAR, NOWHERE) for k, (op, args) in enumerate(rows)]
    return columns_of(nodes, [(f"o{k}", i) for k, i in enumerate(outputs)], Kinds())


def twice(length: int) -> Columns:
    """Two equal chains: what is equal shows only from one link to the next."""
    rows: list[tuple[str, tuple[int, ...]]] = [("input", ())]
    for _ in "ab":
        first = len(rows)
        rows += [("sin", (first + k - 1 if k else 0,)) for k in range(length)]
    return made_of(rows, [length, 2 * length])


def plain(c: Columns) -> Any:
    return c.kind.tolist(), c.args.tolist(), c.outputs


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_equal_instructions_become_one(length: int) -> None:
    c = settled(twice(length))
    assert len(c) == length + 1
    assert c.outputs == (("o0", length), ("o1", length))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_merging_by_sorting_is_merging_one_by_one(seed: int) -> None:
    r = random.Random(seed)
    rows: list[tuple[str, tuple[int, ...]]] = [("input", ()), ("input", ())]
    while len(rows) < 60:
        op, count = r.choice([("sin", 1), ("add", 2), ("mul", 2), ("where", 3)])
        rows.append((op, tuple(r.randrange(max(0, len(rows) - 4), len(rows)) for _ in range(count))))
    c = made_of(rows, [59, 58])
    assert plain(form.live(merged(c))) == plain(form.live(one_by_one(c)))


@pytest.mark.parametrize("shape", [chain, wide])
def test_the_work_grows_in_proportion(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a line of a program costs few lines of ours: the chain rule is asked once for each op."""
    monkeypatch.setattr(pipeline, "COLUMNS", 1)
    counts = []
    for n in (200, 1600):
        program = gl.loads(shape(n)).program
        goal = pipeline.Goal("grad", ("y",), ("a",))
        counts.append(
            (lines_run("transform|ir", lambda p=program, g=goal: pipeline.plan(p, g, p.language, "a test")), len(program.nodes))
        )
    (small, few), (large, many) = counts
    assert large < 8 * small
    assert (large - small) / (many - few) < 80
