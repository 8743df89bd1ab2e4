"""How pieces of formulas are written: in LaTeX, and in MathML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Protocol

SMALL = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho final sigma tau upsilon phi chi "
    "psi omega"
)
LETTERS = {name: chr(0x3B1 + k) for k, name in enumerate(SMALL.split())}
LETTERS |= {n.capitalize(): LETTERS[n].upper() for n in "gamma delta theta lambda xi pi sigma phi psi omega".split()}
GREEK = frozenset(LETTERS) - {"omicron", "final", "upsilon"}
SPELLED = {LETTERS[name]: name for name in GREEK}
KNOWN = frozenset("sin cos tan sinh cosh tanh log exp min max arg det".split())
FUNCTIONS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "abs": "abs"}


class Notation(Protocol):
    """Pieces of formulas; every argument and result is a finished piece."""

    def name(self, text: str) -> str: ...
    def number(self, text: str) -> str: ...
    def group(self, a: str) -> str: ...
    def infix(self, a: str, sign: str, b: str) -> str: ...
    def negative(self, a: str) -> str: ...
    def fraction(self, a: str, b: str) -> str: ...
    def power(self, a: str, b: str) -> str: ...
    def root(self, a: str) -> str: ...
    def size(self, a: str) -> str: ...
    def index(self, a: str, text: str) -> str: ...
    def transposed(self, a: str) -> str: ...
    def function(self, name: str, args: Sequence[str], below: str = "") -> str: ...
    def cases(self, condition: str, a: str, b: str) -> str: ...
    def slope(self, of: str, by: str) -> str: ...


SIGNS = {
    "*": r"\cdot", "@": r"\,", "==": "=", "!=": r"\ne", "<=": r"\le", ">=": r"\ge", "and": r"\land", "or": r"\lor",
    "%": r"\bmod",
}  # fmt: skip
MARKS = {"*": "·", "@": "\u2062", "==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "and": "∧", "or": "∨", "%": "mod", "-": "−"}


def parts(name: str) -> tuple[str, str]:
    """A name and its index: `x_1` and `x1` have the index 1."""
    stem, _, index = name.partition("_")
    found = re.fullmatch(r"([A-Za-z]+)(\d+)", name)
    if found:
        return found[1], found[2]
    return (stem, index) if stem and index else (name, "")


class Latex:
    """LaTeX, for the math mode."""

    def name(self, text: str) -> str:
        stem, index = parts(text)
        return self.word(stem) + (f"_{{{self.word(index)}}}" if index else "")

    @staticmethod
    def word(text: str) -> str:
        text = SPELLED.get(text, text)
        if text in GREEK:
            return "\\" + text
        if text.isascii() and (len(text) == 1 or text.isdigit()):
            return text
        safe = text.replace("_", r"\_")
        return rf"\mathit{{{safe}}}" if text.isascii() else rf"\text{{{safe}}}"

    def number(self, text: str) -> str:
        mantissa, _, exponent = text.partition("e")
        return (
            rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else {"inf": r"\infty", "-inf": r"-\infty"}.get(text, text)
        )

    def group(self, a: str) -> str:
        return rf"\left({a}\right)"

    def infix(self, a: str, sign: str, b: str) -> str:
        return f"{a} {SIGNS.get(sign, sign)} {b}"

    def negative(self, a: str) -> str:
        return f"-{a}"

    def fraction(self, a: str, b: str) -> str:
        return rf"\frac{{{a}}}{{{b}}}"

    def power(self, a: str, b: str) -> str:
        return f"{{{a}}}^{{{b}}}"

    def root(self, a: str) -> str:
        return rf"\sqrt{{{a}}}"

    def size(self, a: str) -> str:
        return rf"\left|{a}\right|"

    def index(self, a: str, text: str) -> str:
        return f"{{{a}}}_{{{text}}}"

    def transposed(self, a: str) -> str:
        return rf"{{{a}}}^{{\top}}"

    def function(self, name: str, args: Sequence[str], below: str = "") -> str:
        shown = FUNCTIONS.get(name, name)
        word = {"sigmoid": r"\sigma", "sum": r"\textstyle\sum"}.get(name) or (
            f"\\{shown}" if shown in KNOWN or shown.startswith("arc") else rf"\operatorname{{{shown}}}".replace("_", r"\_")
        )
        under = rf"_{{\text{{{below}}}}}" if below else ""
        return rf"{word}{under}\left({', '.join(args)}\right)"

    def cases(self, condition: str, a: str, b: str) -> str:
        return rf"\begin{{cases}} {a} & \text{{if }} {condition} \\ {b} & \text{{otherwise}} \end{{cases}}"

    def slope(self, of: str, by: str) -> str:
        return rf"\frac{{\partial {self.name(of)}}}{{\partial {self.name(by)}}}"


class MathML:
    """MathML Core, as browsers draw it."""

    def name(self, text: str) -> str:
        stem, index = parts(text)
        word = f"<mi>{escape(LETTERS.get(stem, stem))}</mi>"
        return f"<msub>{word}<mi>{escape(LETTERS.get(index, index))}</mi></msub>" if index else word

    def number(self, text: str) -> str:
        return f"<mn>{escape(text.replace('-', '−').replace('inf', '∞'))}</mn>"

    def group(self, a: str) -> str:
        return f"<mrow><mo>(</mo>{a}<mo>)</mo></mrow>"

    def infix(self, a: str, sign: str, b: str) -> str:
        return f"<mrow>{a}<mo>{escape(MARKS.get(sign, sign))}</mo>{b}</mrow>"

    def negative(self, a: str) -> str:
        return f"<mrow><mo>−</mo>{a}</mrow>"

    def fraction(self, a: str, b: str) -> str:
        return f"<mfrac><mrow>{a}</mrow><mrow>{b}</mrow></mfrac>"

    def power(self, a: str, b: str) -> str:
        return f"<msup><mrow>{a}</mrow><mrow>{b}</mrow></msup>"

    def root(self, a: str) -> str:
        return f"<msqrt>{a}</msqrt>"

    def size(self, a: str) -> str:
        return f"<mrow><mo>|</mo>{a}<mo>|</mo></mrow>"

    def index(self, a: str, text: str) -> str:
        return f"<msub><mrow>{a}</mrow><mtext>{escape(text)}</mtext></msub>"

    def transposed(self, a: str) -> str:
        return f"<msup><mrow>{a}</mrow><mo>⊤</mo></msup>"

    def function(self, name: str, args: Sequence[str], below: str = "") -> str:
        word = {"sigmoid": "σ", "sum": "∑"}.get(name) or FUNCTIONS.get(name, name)
        head = f"<mi>{escape(word)}</mi>"
        head = f"<msub>{head}<mtext>{escape(below)}</mtext></msub>" if below else head
        return f"<mrow>{head}<mo>(</mo>{'<mo>,</mo>'.join(args)}<mo>)</mo></mrow>"

    def cases(self, condition: str, a: str, b: str) -> str:
        rows = f"<mtr><mtd>{a}</mtd><mtd><mtext>if </mtext>{condition}</mtd></mtr>"
        rows += f"<mtr><mtd>{b}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr>"
        return f"<mrow><mo>{{</mo><mtable>{rows}</mtable></mrow>"

    def slope(self, of: str, by: str) -> str:
        up, down = (f"<mrow><mo>∂</mo>{self.name(n)}</mrow>" for n in (of, by))
        return f"<mfrac>{up}{down}</mfrac>"
