"""Programs as networkx graphs: what `model.graph` holds, and which graphs are programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import gradlang as gl
from gradlang.graph.dag import arguments
from gradlang.types import BOOL, Type, size

EXAMPLES = Path(__file__).parent.parent / "examples"
ALL = sorted(p.stem for p in EXAMPLES.glob("*.grad"))
SCALAR = [n for n in ALL if all(i.shape == () for i in gl.load(EXAMPLES / f"{n}.grad").inputs.values())]
# Derivatives, loops and roots inside formulas are no nodes of a graph yet.
NO_GRAPH = ("15_", "18_", "19_", "20_", "21_", "25_", "28_", "29_", "30_", "31_")


def marked(names: list[str]) -> list[Any]:
    no = pytest.mark.xfail(strict=True, raises=KeyError)
    return [pytest.param(n, marks=no) if n.startswith(NO_GRAPH) else n for n in names]


SHOPPING = "apple = 100\nn = 2\norange = 150\nm = 3\ntax = 1.1\nprice = (apple*n + orange*m) * tax\n"


def named(graph: nx.MultiDiGraph[int]) -> dict[str, int]:
    return {data["name"]: n for n, data in graph.nodes(data=True) if data["name"] is not None}


# ------------------------------------------------------------------ what a graph holds
def test_a_square_has_two_edges() -> None:
    graph = gl.loads("x = 3\ny = x*x\n").graph
    assert type(graph) is nx.MultiDiGraph
    at = named(graph)
    assert sorted(graph.edges(keys=True)) == [(at["x"], at["y"], 0), (at["x"], at["y"], 1)]
    assert graph.nodes[at["y"]]["op"] == "mul"


def test_the_graph_of_the_shopping_list() -> None:
    graph = gl.loads(SHOPPING).graph
    at = named(graph)
    assert list(at) == ["apple", "n", "orange", "m", "tax", "price"]
    price = at["price"]
    goods, tax = arguments(graph, price)
    assert tax == at["tax"]
    apples, oranges = arguments(graph, goods)
    assert arguments(graph, apples) == [at["apple"], at["n"]]
    assert arguments(graph, oranges) == [at["orange"], at["m"]]
    assert [graph.nodes[n]["op"] for n in (price, goods, apples, oranges)] == ["mul", "add", "mul", "mul"]
    assert graph.nodes[goods]["name"] is None
    assert graph.graph["outputs"] == ("price",)
    assert len(graph) == 9


@pytest.mark.parametrize("name", marked(ALL))
def test_node_attributes(name: str) -> None:
    model = gl.load(EXAMPLES / f"{name}.grad")
    graph = model.graph
    assert nx.is_directed_acyclic_graph(graph)
    last = model.program.sources.files[-1]
    for n, data in graph.nodes(data=True):
        assert {"op", "name", "type", "attrs", "scope", "span"} <= set(data), n
        assert isinstance(data["op"], str)
        assert data["name"] is None or isinstance(data["name"], str)
        assert isinstance(data["type"], Type)
        assert isinstance(data["attrs"], dict)
        assert isinstance(data["scope"], tuple)
        start, end = data["span"]
        assert 0 <= start <= end <= last.base + len(last.text)
        keys = sorted(k for _, _, k in graph.in_edges(n, keys=True))
        assert keys == list(range(len(keys)))
    leaves = {data["name"]: data for _, data in graph.nodes(data=True) if data.get("role")}
    for leaf in (*model.inputs, *model.params):
        assert leaves[leaf]["role"] == ("param" if leaf in model.params else "input")
        assert "default" in leaves[leaf]
    assert set(graph.graph["outputs"]) <= set(named(graph))
    assert model.graph is graph


@pytest.mark.parametrize("name", marked(ALL))
def test_nodes_are_numbered_in_source_order(name: str) -> None:
    graph = gl.load(EXAMPLES / f"{name}.grad").graph
    assert list(graph) == list(range(len(graph)))
    spans = [data["span"] for _, data in graph.nodes(data=True)]
    assert spans == sorted(spans)


def test_the_order_of_statements_numbers_the_nodes() -> None:
    at = named(gl.loads("y = x*2\nx = 3\n").graph)
    assert at["y"] < at["x"]


def test_calls_leave_their_scope() -> None:
    graph = gl.loads(
        "def inner(x) = x*2\ndef outer(x):\n    z = inner(x) + 1\n    return z\na = 3\nb = outer(a)\nc = a - b\n"
    ).graph
    scopes = {data["op"]: data["scope"] for _, data in graph.nodes(data=True) if data["op"] in ("mul", "add", "sub")}
    assert scopes["sub"] == ()
    assert len(scopes["add"]) == 1
    assert "outer" in scopes["add"][0]
    assert len(scopes["mul"]) == 2
    assert scopes["mul"][:1] == scopes["add"]
    assert "inner" in scopes["mul"][1]


def test_two_calls_are_two_scopes() -> None:
    graph = gl.loads("def f(x) = x*2\na = 3\nb = f(a)\nc = f(b)\n").graph
    scopes = [data["scope"] for _, data in graph.nodes(data=True) if data["op"] == "mul"]
    assert len(scopes) == 2
    assert all(len(s) == 1 for s in scopes)
    assert scopes[0] != scopes[1]


# ------------------------------------------------------------------ there and back
@pytest.mark.parametrize("name", marked(SCALAR))
def test_a_graph_is_its_program(name: str) -> None:
    model = gl.load(EXAMPLES / f"{name}.grad")
    again = gl.from_graph(model.graph)
    assert again.program.outputs == model.program.outputs
    assert set(again.inputs) == set(model.inputs)
    names = list(model.program.values)
    point = {n: info.default * 1.25 for n, info in model.inputs.items()}
    for given in ({}, point):
        assert again.function(names)(given) == model.function(names)(given)
        for y in model.program.outputs:
            wrt = list(model.inputs)
            assert again.value_and_grad(y, wrt)(given) == model.value_and_grad(y, wrt)(given)


def test_scalar_examples_exist() -> None:
    assert {"01_apples", "02_shopping", "03_chain_rule", "04_nodes", "06_sigmoid"} <= set(SCALAR)


def test_arrays_and_sizes_go_there_and_back() -> None:
    text = "input x : [N, 2]\nW = [[1, 2, 3], [4, 5, 6]]\ny = sum(tanh(x @ W)**2, axis=0)\nloss = sum(y)/N\noutput loss, y\n"
    model = gl.loads(text)
    again = gl.from_graph(model.graph)
    x = np.arange(8.0).reshape(4, 2) / 10
    assert again.inputs["x"].shape == ("N", 2)
    one, two = model(x=x), again(x=x)
    assert one["loss"] == two["loss"]
    assert one["y"].tobytes() == two["y"].tobytes()
    mine, other = model.value_and_grad("loss")(x=x)[1], again.value_and_grad("loss")(x=x)[1]
    assert list(mine) == list(other) == ["x", "W"]
    assert all(mine[n].tobytes() == other[n].tobytes() for n in mine)


def test_a_graph_that_was_edited() -> None:
    graph = gl.loads(SHOPPING).graph.copy()
    at = named(graph)
    goods = arguments(graph, at["price"])[0]
    graph.nodes[goods]["op"] = "sub"
    assert gl.from_graph(graph)() == (100.0 * 2 - 150.0 * 3) * 1.1
    assert gl.loads(SHOPPING)() == 715.0000000000001


def test_a_copy_with_other_numbers_is_the_same_program() -> None:
    graph = gl.loads(SHOPPING).graph
    moved = nx.relabel_nodes(graph, {n: 100 - n for n in graph})
    model = gl.from_graph(moved)
    assert model() == 715.0000000000001
    assert model.value_and_grad("price", ["apple", "tax"])()[1] == {"apple": 2.2, "tax": 650.0}


# ------------------------------------------------------------------ graphs made by hand
def square() -> nx.MultiDiGraph[int]:
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    graph.add_node(0, op="input", name="x")
    graph.add_node(1, op="mul", name="y")
    graph.add_edge(0, 1, key=0)
    graph.add_edge(0, 1, key=1)
    return graph


def test_a_graph_made_by_hand() -> None:
    model = gl.from_graph(square())
    assert list(model.inputs) == ["x"]
    assert list(model.outputs) == ["y"]
    assert model(x=3) == 9.0
    assert model.value_and_grad("y")(x=3) == (9.0, {"x": 6.0})


def test_outputs_and_defaults_made_by_hand() -> None:
    graph = square()
    graph.nodes[0]["default"] = 3.0
    graph.add_node(2, op="const", attrs={"value": 2.0})
    graph.add_node(3, op="sub", name="z")
    graph.add_edge(1, 3, key=1)
    graph.add_edge(2, 3, key=0)
    model = gl.from_graph(graph)
    assert model() == -7.0
    graph.graph["outputs"] = ("y", "z")
    assert gl.from_graph(graph)() == {"y": 9.0, "z": -7.0}


def test_arrays_made_by_hand() -> None:
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    graph.add_node(5, op="input", name="v", type=Type((size("N"),)))
    graph.add_node(3, op="sum", name="s", attrs={"axis": (0,)})
    graph.add_edge(5, 3, key=0)
    model = gl.from_graph(graph)
    assert model(v=[1, 2, 4]) == 7.0
    assert model.value_and_grad("s")(v=[1, 2, 4])[1]["v"].tolist() == [1.0, 1.0, 1.0]


# ------------------------------------------------------------------ graphs that are no programs
def changed(change: Callable[[Any], Any]) -> Any:
    graph = square()
    made = change(graph)
    return graph if made is None else made


def twice(graph: Any) -> None:
    graph.add_node(2, op="neg", name="y")
    graph.add_edge(0, 2, key=0)


def wrong_sum(graph: Any) -> None:
    graph.add_node(2, op="input", name="v", type=Type((3,)))
    graph.add_node(3, op="sum", name="s", attrs={"axs": (0,)})
    graph.add_edge(2, 3, key=0)


def misfit(graph: Any) -> None:
    graph.add_node(2, op="input", name="v", type=Type((3,)))
    graph.add_node(3, op="input", name="w", type=Type((4,)))
    graph.add_node(4, op="add", name="s")
    graph.add_edge(2, 4, key=0)
    graph.add_edge(3, 4, key=1)


def cycle(graph: Any) -> None:
    graph.add_node(2, op="neg")
    graph.remove_edge(0, 1, key=1)
    graph.add_edge(1, 2, key=0)
    graph.add_edge(2, 1, key=1)


def use_of_leaf(graph: Any) -> None:
    graph.add_node(2, op="const", attrs={"value": 1.0})
    graph.add_edge(0, 2, key=0)


REFUSED: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "plain_graph": (lambda g: nx.DiGraph(g), ["MultiDiGraph", "DiGraph"]),
    "undirected": (lambda g: nx.MultiGraph(g), ["MultiDiGraph"]),
    "no_graph": (lambda g: "x*x", ["MultiDiGraph"]),
    "cycle": (cycle, ["cycle", "1", "2"]),
    "self_loop": (lambda g: g.add_edge(1, 1, key=2) and None, ["cycle"]),
    "no_op": (lambda g: g.nodes[1].pop("op") and None, ["node 1", "`op`"]),
    "unknown_op": (lambda g: g.nodes[1].update(op="mull"), ["node 1", "`mull`", "did you mean `mul`"]),
    "op_is_no_text": (lambda g: g.nodes[1].update(op=3), ["node 1"]),
    "gap": (lambda g: g.add_edge(0, 1, key=3) and g.remove_edge(0, 1, key=1), ["node 1", "positions", "[0, 3]"]),
    "starts_at_one": (lambda g: g.add_edge(0, 1, key=2) and g.remove_edge(0, 1, key=0), ["node 1", "[1, 2]"]),
    "too_many": (lambda g: g.add_edge(0, 1, key=2) and None, ["node 1", "`mul`", "takes 2", "3 edges"]),
    "too_few": (lambda g: g.remove_edge(0, 1, key=1), ["node 1", "`mul`", "takes 2", "1 edge"]),
    "key_is_no_number": (lambda g: g.add_edge(0, 1, key="left") and None, ["node 1", "positions"]),
    "unknown_setting": (wrong_sum, ["node 3", "`sum`", "`axs`", "did you mean `axis`"]),
    "wrong_type": (lambda g: g.nodes[1].update(type=Type((2,))), ["node 1", "[2]"]),
    "wrong_kind": (lambda g: g.nodes[1].update(type=BOOL), ["node 1", "bool"]),
    "type_is_none": (lambda g: g.nodes[0].update(type="float"), ["node 0", "Type"]),
    "misfit": (misfit, ["node 4", "3", "4"]),
    "doubled_name": (twice, ["1", "2", "`y`"]),
    "unknown_output": (lambda g: g.graph.update(outputs=("yy",)), ["`yy`", "did you mean `y`"]),
    "input_without_name": (lambda g: g.nodes[0].pop("name") and None, ["node 0", "name"]),
    "leaf_with_arguments": (use_of_leaf, ["node 2", "const", "arguments"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_program_is_refused_with_a_reason(name: str) -> None:
    change, words = REFUSED[name]
    with pytest.raises(gl.SourceError) as caught:
        gl.from_graph(changed(change))
    said = " ".join(f"{d.message} {d.help}" for d in caught.value.diagnostics)
    for word in words:
        assert word in said, said
    assert all(d.severity == "error" for d in caught.value.diagnostics)


def test_every_reason_is_reported() -> None:
    graph = square()
    graph.nodes[0].pop("name")
    graph.nodes[1]["op"] = "mull"
    graph.add_node(2, op="neg")
    graph.graph["outputs"] = ("nothing",)
    with pytest.raises(gl.SourceError) as caught:
        gl.from_graph(graph)
    assert len(caught.value.diagnostics) == 4


def test_the_input_graph_is_not_changed() -> None:
    graph = square()
    before = sorted(graph.nodes(data=True)), sorted(graph.edges(keys=True))
    gl.from_graph(graph).value_and_grad("y")(x=2)
    assert (sorted(graph.nodes(data=True)), sorted(graph.edges(keys=True))) == before
