"""The proof of the tables: every entry, every rewrite, every kink, and the mutants that the proof must catch."""

import pytest
from conftest import Golden

from gradlang import pipeline
from gradlang.ops.op import Op
from gradlang.ops.table import RULES, OpTable, builtin, read_rules, rules, trees_text
from gradlang.pipeline import Language
from gradlang.prove.accuracy import EXEMPT, LIMIT, prove_table
from gradlang.prove.mutants import survivors
from gradlang.prove.reference import Truth
from gradlang.prove.rewrites import prove_rules
from gradlang.source import Source
from gradlang.syntax import trees
from gradlang.syntax.grammar import grammar_dir, grammar_text

TABLE = builtin()


# ------------------------------------------------------------------ what is kept of the texts
def test_the_trees_that_come_with_the_package_are_those_of_its_tables(golden: Golden) -> None:
    golden(grammar_dir() / trees.FILE, trees_text())


def test_kept_trees_are_what_the_texts_say(monkeypatch: pytest.MonkeyPatch) -> None:
    table = builtin()
    kept = OpTable(*table._sources)
    found = {name: kept[name] for name in kept}, read_rules(Source(RULES, grammar_text(RULES)))
    assert all(trees.kept(op.source, name) for name, op in found[0].items() if op.source)
    monkeypatch.setattr("gradlang.ops.table.kept", lambda source, key: None)
    parsed = OpTable(*table._sources)
    assert found[1] == read_rules(Source(RULES, grammar_text(RULES)))
    for name, op in found[0].items():
        other = parsed[name]
        assert [getattr(op, part) for part in Op.__match_args__] == [getattr(other, part) for part in Op.__match_args__]


def test_another_text_is_parsed() -> None:
    text = grammar_text("ops.grad").replace("op exp(x)", "op exp(u)", 1).replace("op tanh(x)", "op tanh(x) ", 1)
    assert OpTable(Source("ops.grad", text))["exp"].params == ("u",)
    assert OpTable(Source("mine.grad", "op exp(x) -> y:\n    value = x\n"))["exp"].defined
    assert trees.kept(Source("ops.grad", grammar_text("ops.grad"), 7), "exp") is None


@pytest.fixture(scope="module")
def proof():
    return prove_table(TABLE)


@pytest.mark.parametrize("name", list(TABLE))
def test_entry(proof, name):
    (row,) = [r for r in proof.rows if r.op == name]
    assert not row.failures, "\n".join(row.failures[:5])
    assert row.points or name in EXEMPT or TABLE[name].flags & {"predicate", "logical"}


def test_every_partial_is_within_the_limit(proof):
    for row in proof.rows:
        if not TABLE[row.op].pointwise:
            continue
        for what, error in [("value", row.value), *row.partials.items()]:
            assert error <= EXEMPT.get(f"{row.op}/{what}", (LIMIT, ""))[0], (row.op, what, error)


def test_exemptions_name_entries():
    for name, (limit, reason) in EXEMPT.items():
        op, _, part = name.partition("/")
        assert op in TABLE
        assert not part or part in ("value", "second") or part in TABLE[op].params
        assert reason
        assert limit > LIMIT


@pytest.mark.parametrize("row", prove_rules(rules(), TABLE), ids=lambda r: r.name)
def test_rule(row):
    assert row.points
    assert not row.failures, "\n".join(row.failures[:5])


def test_every_rule_has_a_class_and_a_name_of_its_own():
    assert {r.kind for r in rules()} == {"exact", "stable", "fast"}
    assert len({r.name for r in rules()}) == len(rules())


def test_the_proof_catches_every_mutant():
    total, alive = survivors(Language(TABLE, rules()), {})
    assert total > 350
    assert not alive, [(m.op, m.clause, m.what) for m in alive]


def test_a_wrong_reference_is_noticed():
    truth = Truth(TABLE)
    assert abs(float(truth.partial(TABLE["tanh"], (20.0,), 0)) - 1.6993417021166355e-17) < 1e-30


TAILS = [
    ("sigmoid(x)", 40.0, 4.248354255291589e-18),
    ("sigmoid(x)", -40.0, 4.248354255291589e-18),
    ("tanh(x)", 20.0, 1.6993417021166355e-17),
    ("expm1(x)", -40.0, 4.248354255291589e-18),
]


@pytest.mark.parametrize(("formula", "x", "slope"), TAILS)
def test_tails_keep_their_digits(formula, x, slope):
    import gradlang as gl

    got = gl.loads(f"y = {formula}").value_and_grad()(x=x)[1]["x"]
    assert abs(got - slope) <= 4 * 2**-52 * slope


ENTRY = """
op swish3(x) -> y:
    s = sigmoid(3 * x)
    value = x * s
    d/dx  = s + 3 * x * s * sigmoid(-(3 * x))
    reference = x / (1 + exp(-(3 * x)))
    on x in [0.1, 8]
"""


def test_adding_an_op_touches_its_entry_and_nothing_else():
    """With one more entry, the new name can be called, differentiated twice, printed by every backend and proven."""
    texts = ("ops.grad", "special.grad", "linalg.grad")
    table = OpTable(*(Source(n, grammar_text(n)) for n in texts), Source("mine.grad", ENTRY))
    language = Language(table, rules())
    assert isinstance(table["swish3"], Op)
    program = pipeline.load("y = swish3(x)", "t.grad", language)
    scalar = pipeline.compile_goal(program, pipeline.Goal("grad", ("y",), ("x",)), language, "t.grad")
    namespace: dict = {}
    exec(scalar.source, namespace)
    value, grads = namespace[scalar.entry](0.5)
    truth = Truth(table)
    assert value == pytest.approx(float(truth.value(table["swish3"], (0.5,))), rel=1e-15)
    assert grads["x"] == pytest.approx(float(truth.partial(table["swish3"], (0.5,), 0)), rel=1e-14)
    array = pipeline.load("x : [N]\ny = sum(swish3(x))", "t.grad", language)
    assert "np." in pipeline.compile_goal(array, pipeline.Goal("hvp", ("y",), ("x",)), language, "t.grad").source
    gradient = pipeline.gradient_file(program, pipeline.Goal("grad", ("y",), ("x",)), language, "t.grad")
    assert "swish3(x)" in gradient
    from gradlang.prove.accuracy import prove_op

    row = prove_op(table["swish3"], language, truth)
    assert row.points
    assert not row.failures
