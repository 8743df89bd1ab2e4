"""Pictures for other tools: DOT, Mermaid, TikZ and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gradlang.view.geometry import Drawing
from gradlang.view.picture import Picture, Shape
from gradlang.view.show import json_value


def dot(picture: Picture) -> str:
    """Graphviz's language; derivatives stand in red below the values."""
    out = ["digraph {", "  rankdir=LR;", '  node [fontname="Helvetica"];', '  edge [fontname="Helvetica"];']
    for k, s in enumerate(picture.shapes):
        shape = {"op": "circle", "group": "box"}.get(s.kind, "plaintext")
        out.append(f"  n{k} [shape={shape}, label={quoted(s.text)}, tooltip={quoted(s.tip)}];")
    for e in picture.lines:
        s = picture.shapes[e.source]
        below = e.below or s.below
        rows = f"{html(s.above)}" + (f'<br/><font color="#b3261e">{html(below)}</font>' if below else "")
        out.append(f"  n{e.source} -> n{e.target}" + (f" [label=<{rows}>];" if rows else ";"))
    top = picture.shapes[picture.top]
    if top.above:
        rows = html(top.above) + (f'<br/><font color="#b3261e">{html(top.below)}</font>' if top.below else "")
        out += ["  end [shape=point, style=invis];", f"  n{picture.top} -> end [label=<{rows}>];"]
    return "\n".join([*out, "}"]) + "\n"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mermaid(picture: Picture) -> str:
    """Mermaid's flowcharts, which some hosts of Markdown draw."""
    out = ["flowchart LR"]
    for k, s in enumerate(picture.shapes):
        left, right = {"op": ("((", "))"), "group": ("[", "]")}.get(s.kind, ("([", "])"))
        out.append(f"  n{k}{left}{marked(s.text)}{right}")
    for e in picture.lines:
        out.append(f"  n{e.source} --{carried(picture.shapes[e.source], e.below)} n{e.target}")
    top = picture.shapes[picture.top]
    if top.above:
        out.append(f'  n{picture.top} --{carried(top, "")} result[" "]')
    return "\n".join(out) + "\n"


def carried(s: Shape, branch: str) -> str:
    """The arrow of an edge with what it carries."""
    below = branch or s.below
    words = [w for w in (s.above, f"∂ {below}" if below else "") if w]
    return f">|{marked('<br/>'.join(words))}|" if words else ">"


def marked(text: str) -> str:
    """A text in quotation marks, in which the signs that Mermaid reads stand by their numbers."""
    kept = "<br/>"
    pieces = ["".join(f"#{ord(c)};" if c in '"#;`<>|[]{}()' else c for c in p) for p in text.split(kept)]
    return '"' + kept.join(pieces) + '"'


def tikz(drawing: Drawing) -> str:
    """A TikZ picture for papers and slides, in points, with the same places as the SVG."""
    out = ["% \\usepackage{tikz} \\usetikzlibrary{arrows.meta}", "\\begin{tikzpicture}[x=0.75pt, y=-0.75pt, >={Latex}]"]
    out.append("  \\definecolor{backward}{HTML}{B3261E}")
    for c in drawing.curves:
        path = f"({c.points[0][0]:.1f},{c.points[0][1]:.1f})"
        for a, b in zip(c.points, c.points[1:], strict=False):
            middle = (a[0] + b[0]) / 2
            bend = f" .. controls ({middle:.1f},{a[1]:.1f}) and ({middle:.1f},{b[1]:.1f}) .. "
            path += (" -- " if a[1] == b[1] else bend) + f"({b[0]:.1f},{b[1]:.1f})"
        out.append(f"  \\draw[->] {path};")
    for o in drawing.outlines:
        if o.kind in ("op", "group"):
            half = (o.width / 2, o.height / 2)
            corner = o.height / 2 if o.kind == "op" else 8
            out.append(
                f"  \\draw[fill={'white' if o.kind == 'op' else 'blue!7'}, rounded corners={0.75 * corner - 0.1:.1f}pt] "
                f"({o.x - half[0]:.1f},{o.y - half[1]:.1f}) rectangle ({o.x + half[0]:.1f},{o.y + half[1]:.1f});"
            )
    for s in drawing.slots:
        out.append(f"  \\draw ({s.x:.1f},{s.y:.1f}) rectangle +({s.width:.1f},17);")
    for t in drawing.texts:
        size = {"symbol": "\\normalsize", "leaf": "\\normalsize", "caption": "\\scriptsize\\itshape"}.get(t.role, "\\small")
        colour = ", text=backward" if t.role in ("slope", "branch") else ""
        anchor = {"middle": "base", "end": "base east"}.get(t.anchor, "base west")
        out.append(f"  \\node[anchor={anchor}, inner sep=0{colour}] at ({t.x:.1f},{t.y:.1f}) {{{size} {latex(t.text)}}};")
    return "\n".join([*out, "\\end{tikzpicture}"]) + "\n"


LATEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_",
    "^": "\\^{}", "~": "\\~{}", "×": "$\\times$", "÷": "$\\div$", "−": "$-$", "Σ": "$\\Sigma$", "≤": "$\\le$",
    "≥": "$\\ge$", "≠": "$\\ne$", "∂": "$\\partial$", "<": "$<$", ">": "$>$", "|": "$|$",
}  # fmt: skip


def latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)


def as_json(picture: Picture) -> str:
    """The picture as data: nodes with values and derivatives in full, edges with what each branch hands back."""

    def number(known: Mapping[int, Any], node: int) -> Any:
        return None if known.get(node) is None else json_value(known[node])

    def shape(k: int, s: Shape) -> dict[str, Any]:
        return {
            "id": k,
            "kind": s.kind,
            "text": s.text,
            "name": s.title or (s.text if s.kind == "leaf" else None),
            "about": s.tip,
            "nodes": list(s.members),
            "value": number(picture.values, s.node),
            "derivative": number(picture.slopes, s.node),
        }

    made = {
        "schema": 1,
        "of": picture.title,
        "top": picture.top,
        "nodes": [shape(k, s) for k, s in enumerate(picture.shapes)],
        "edges": [{"source": e.source, "target": e.target, "branch": e.below or None} for e in picture.lines],
    }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"
