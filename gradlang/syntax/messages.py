"""What is said about a text that does not follow the grammar. No message shows the name of a terminal or a rule.

`explain` turns the place where the parser stopped into a sentence: the first row of `CASES` whose condition holds wins.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from gradlang.diagnostics import Diagnostic
from gradlang.record import record
from gradlang.source import Span
from gradlang.syntax import hints

KEYWORDS = frozenset(
    "input param const def return op rule import from as for in if else and or not true false grad jacobian hessian "
    "output check minimize maximize wrt".split()
)


class Fault(Exception):
    """Raised by a builder for a statement that the grammar takes and the language does not."""

    def __init__(self, what: Callable[..., Diagnostic] | str, span: Span, *args: str) -> None:
        super().__init__(str(what))
        self.diagnostic = what(span, *args) if callable(what) else NAMED[what](span, *args)


# ------------------------------------------------------------------ characters and layout
def confusable(char: str, meant: str, span: Span) -> Diagnostic:
    name = unicodedata.name(char, "this character").lower()
    text = "a power is written `**`" if char in "^＾" else f"`{char}` ({name}) is not `{meant}`"
    return Diagnostic("G101", text, span, f"write `{meant}`", fix=(span, meant))


SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))


def stray(char: str, span: Span, text: str) -> Diagnostic:
    if char in "\"'":
        kind = "label" if char == '"' else "unit"
        return Diagnostic("G103", f"this {kind} has no closing `{char}`", span, help=f"close it with `{char}` on the same line")
    known = {
        "!": "`not` is the word for negation, `!=` means different",
        "&": "`and` combines conditions",
        "|": "`or` combines conditions; `abs(x)` is the absolute value",
        ";": "one statement a line, without `;`",
        "{": "braces have no meaning here; use `(` `)` or `[` `]`",
        "}": "braces have no meaning here; use `(` `)` or `[` `]`",
        "?": "a choice is written `a if condition else b`",
        "∂": "a derivative is written `grad(y, x)`",
        "√": "a square root is written `sqrt(x)`",
        "π": "write `pi`",
        "∑": "write `sum(x)`",
        "∞": "write `inf`",
    }
    if char in SUPERSCRIPTS:
        return Diagnostic("G101", f"a power is written `**`, not `{char}`", span, f"write `**{SUPERSCRIPTS[char]}`")
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    return Diagnostic(
        "G102", f"`{shown}` has no meaning in a formula", span, help=known.get(char) or hints.quotation(char) or "delete it"
    )


def control(char: str, span: Span, label: bool) -> Diagnostic:
    text = f"`U+{ord(char):04X}` has no meaning in {'a label' if label else 'a unit'}: it would change what a terminal shows"
    return Diagnostic("G102", text, span, help="delete it")


def odd_space(char: str, span: Span) -> Diagnostic:
    name = unicodedata.name(char, f"U+{ord(char):04X}").lower()
    return Diagnostic("G102", f"this blank is not an ordinary one ({name})", span, help="write a space", fix=(span, " "))


def invisible(char: str, span: Span) -> Diagnostic:
    return Diagnostic("G102", f"an invisible character (U+{ord(char):04X}) stands here", span, help="delete it")


def unexpected_indent(span: Span) -> Diagnostic:
    return Diagnostic("G104", "this line is indented, but no block is open", span, help="start the line in the first column")


def mixed_indent(span: Span) -> Diagnostic:
    return Diagnostic("G104", "this line is indented with tabs and spaces", span, help="indent with spaces only")


def uneven_dedent(span: Span) -> Diagnostic:
    return Diagnostic("G104", "this indentation matches no open block", span, help="indent all lines of a block alike")


def indexed_declaration(span: Span) -> Diagnostic:
    return Diagnostic("G118", "a type belongs to a whole array", span, help="write `name : [N]` without an index")


def not_a_check_option(span: Span, word: str) -> Diagnostic:
    return Diagnostic(
        "G119", f"`{word}` is no part of a check", span, help="a check is `check a == b tol 1e-12 given x = 2, y = 3`"
    )


def check_option_twice(span: Span, word: str) -> Diagnostic:
    return Diagnostic("G119", f"`{word}` stands twice in this check", span, help="keep one of them")


def given_no_name(span: Span) -> Diagnostic:
    return Diagnostic("G119", "only an input or a parameter can be given", span, help="write `given x = 1`")


NAMED: dict[str, Callable[..., Diagnostic]] = {"indexed_declaration": indexed_declaration}

# ------------------------------------------------------------------ where the parser stopped
WORDS = {
    "_NL": "the end of the line",
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": 'a text in `"`',
    "UNIT": "a unit in `'`",
    "_INDENT": "an indented block",
    "_DEDENT": "the end of the block",
}


@record
class Stop:
    """Where the parser stopped: the offending token, what stood before, and which kinds would have been accepted."""

    kind: str
    text: str
    span: Span
    before_kind: str
    before_text: str
    before_span: Span
    accepts: frozenset[str]
    texts: tuple[str, ...]
    unclosed: tuple[str, Span] | None

    @property
    def got(self) -> str:
        return WORDS.get(self.kind) if self.kind.startswith("_") and self.kind in WORDS else f"`{self.text}`"  # type: ignore[return-value]

    @property
    def value_wanted(self) -> bool:
        return "NUMBER" in self.accepts

    @property
    def value_before(self) -> bool:
        return self.before_kind in ("NAME", "NUMBER", "RPAR", "RSQB")


def _keyword_as_name(s: Stop) -> Diagnostic:
    word, span = (s.text, s.span) if s.text in KEYWORDS else (s.before_text, s.before_span)
    return Diagnostic(
        "G110",
        f"`{word}` is a keyword of the language and cannot be a name",
        span,
        help=f"pick another name, for example `{word}_`",
    )


def _missing_value(s: Stop) -> Diagnostic:
    after = f"after `{s.before_text}`" if s.before_text else "here"
    return Diagnostic(
        "G111",
        f"a value is missing {after}",
        s.before_span if s.before_text else s.span,
        help=f"write a number, a name or a formula {after}",
    )


def _double_operator(s: Stop) -> Diagnostic:
    hint = "a power is written `**`, without a space" if s.before_text == "*" and s.text == "*" else "delete one of them"
    return Diagnostic(
        "G112", f"`{s.text}` cannot follow `{s.before_text}`", s.span, "a value is missing before this", help=hint
    )


def _two_values(s: Stop) -> Diagnostic:
    if s.text == "range" and "for" in s.texts:
        return Diagnostic(
            "G199",
            f"`in` is missing between `{s.before_text}` and `range`",
            s.span,
            help=f"write `for {s.before_text} in range(...)`",
        )
    hint = (
        f"to multiply, write `{s.before_text}*{s.text}`"
        if s.kind in ("NAME", "NUMBER") and s.before_text not in ")]"
        else "to multiply, write `*` between them"
    ) + hints.between(s.before_kind, s.before_text, s.text, s.unclosed)
    return Diagnostic("G113", f"an operator is missing between `{s.before_text}` and `{s.text}`", s.span, help=hint)


def _unclosed(s: Stop) -> Diagnostic:
    assert s.unclosed
    close = {"(": ")", "[": "]"}[s.unclosed[0]]
    return Diagnostic(
        "G114", f"`{s.unclosed[0]}` is never closed", s.unclosed[1], "opened here", help=f"add the missing `{close}`"
    )


def _stray_closing(s: Stop) -> Diagnostic:
    if s.unclosed:
        right = {"(": ")", "[": "]"}[s.unclosed[0]]
        return Diagnostic(
            "G115",
            f"`{s.text}` does not close `{s.unclosed[0]}`",
            s.span,
            labels=((s.unclosed[1], "opened here"),),
            help=f"write `{right}`",
        )
    return Diagnostic(
        "G115", f"`{s.text}` closes nothing", s.span, help=f"delete it, or open with `{ {')': '(', ']': '['}[s.text] }`"
    )


def _missing_else(s: Stop) -> Diagnostic:
    return Diagnostic("G116", "`if` needs an `else` here", s.span, help="a choice is written `a if condition else b`")


def _block_missing(s: Stop) -> Diagnostic:
    return Diagnostic(
        "G117",
        "an indented block must follow `:`",
        s.before_span,
        help="indent the lines of the block, for example by 4 spaces",
    )


def _single_equal(s: Stop) -> Diagnostic:
    if any(t in ("if", "check", "and", "or", "not") for t in s.texts):
        return Diagnostic("G112", "`=` defines; a comparison is written `==`", s.span, help="write `==`")
    return Diagnostic("G112", "`=` cannot stand here", s.span, help="a definition is `name = formula`, one a line")


def _bare_expression(s: Stop) -> Diagnostic:
    return Diagnostic("G120", "this line defines nothing", s.before_span, help=hints.defining(s.before_text, s.text))


def _bad_left_side(s: Stop) -> Diagnostic:
    return Diagnostic("G121", f"a statement cannot start with {s.got}", s.span, help=hints.statement(s.text))


def _expected_name(s: Stop) -> Diagnostic:
    before = s.before_text.strip()
    hint = f"write a name after `{before}`" if before else "a line of a block is `name = formula` or a `for` of its own"
    return Diagnostic("G122", f"a name is expected here, not {s.got}", s.span, help=hint)


def _leaf_needs(s: Stop) -> Diagnostic:
    return Diagnostic("G123", f"a type or `=` is expected, not {s.got}", s.span, help="write `name = value` or `name : [N, 3]`")


def _empty_argument(s: Stop) -> Diagnostic:
    if s.before_text in ("(", "["):
        return Diagnostic(
            "G111", f"a value is missing between `{s.before_text}` and `{s.text}`", s.span, help="write a value there"
        )
    return Diagnostic("G111", f"a value is missing before `{s.text}`", s.span, help="remove the extra `,` or write the value")


def _other(s: Stop) -> Diagnostic:
    if s.before_text in ("import", "from") and s.kind == "NAME":
        return Diagnostic("G199", f"`{s.text}` is no file", s.span, help=hints.imported(s.text))
    quoted = sorted(f"`{_LITERAL[k]}`" for k in s.accepts if k in _LITERAL)
    words = [WORDS[k] for k in ("_NL", "NAME", "NUMBER", "STRING") if k in s.accepts]
    wanted = (words + quoted)[:4]
    return Diagnostic(
        "G199", f"{s.got} cannot stand here", s.span, help="expected " + " or ".join(wanted) if 0 < len(wanted) <= 4 else ""
    )


_LITERAL = {
    "EQUAL": "=",
    "COLON": ":",
    "COMMA": ",",
    "RPAR": ")",
    "RSQB": "]",
    "LPAR": "(",
    "LSQB": "[",
    "IN": "in",
    "IMPORT": "import",
    "FOR": "for",
    "ELSE": "else",
}
_OPERATORS = frozenset("+ - * / // % @ ** < <= > >= == != and or".split())


def _return(s: Stop) -> Diagnostic:
    return Diagnostic(
        "G124",
        "`return` stands only at the end of a function",
        s.span,
        help="a function is `def f(x):` with indented lines, the last of them `return value`",
    )


def _no_return(s: Stop) -> Diagnostic:
    return Diagnostic("G124", "this function returns nothing", s.before_span, help="end its block with `return value`")


def _def_head(s: Stop) -> Diagnostic:
    return Diagnostic(
        "G125",
        f"`:` or `=` must follow the head of a function, not {s.got}",
        s.span,
        help="write `def f(x) = formula`, or `def f(x):` and an indented block",
    )


def _text_value(s: Stop) -> Diagnostic:
    kind = "a text" if s.kind == "STRING" else "a unit"
    return Diagnostic("G126", f"{kind} is no value", s.span, help="a label or a unit stands at the end of its line")


def _python(s: Stop) -> Diagnostic:
    word = s.text if s.text in PYTHON else s.before_text
    span = s.span if s.text in PYTHON else s.before_span
    return Diagnostic("G127", f"`{word}` is Python, not a word of this language", span, help=PYTHON[word])


PYTHON = {
    "lambda": "a function is `def f(x) = formula`; as a name, `lambda` is fine",
    "elif": "choices nest: `a if c else b if d else e`",
    "while": "a program describes formulas; `for t in range(1, T+1):` describes a recurrence",
    "class": "a program describes formulas and functions: `def f(x) = formula`",
    "print": "a run shows its outputs: `output y`",
    "assert": "a promise is `check a == b`",
    "is": "compare with `==`",
}


VALUES = ("NAME", "NUMBER", "LPAR")
CASES: tuple[tuple[Callable[[Stop], bool], Callable[[Stop], Diagnostic]], ...] = (
    (lambda s: s.text == "return" and s.kind == "RETURN", _return),
    (lambda s: s.kind == "_DEDENT" and "RETURN" in s.accepts, _no_return),
    (lambda s: s.texts[0] == "def" and "EQUAL" in s.accepts and "COLON" in s.accepts and s.before_text == ")", _def_head),
    (lambda s: s.kind in ("STRING", "UNIT") and s.value_wanted, _text_value),
    (lambda s: s.kind == "NAME" and s.text in PYTHON and s.value_before, _python),
    (
        lambda s: (
            s.before_kind == "NAME" and s.before_text in PYTHON and len(s.texts) == 2 and s.kind in ("NAME", "NUMBER", "LPAR")
        ),
        _python,
    ),
    (lambda s: s.kind == "_NL" and s.unclosed is not None and (s.value_before or s.before_text in "(["), _unclosed),
    (
        lambda s: (
            s.text in KEYWORDS
            and "NAME" in s.accepts
            and s.kind != "NAME"
            and s.text not in ("if", "else", "for", "in", "and", "or", "as")
        ),
        _keyword_as_name,
    ),
    (lambda s: s.before_text in KEYWORDS and s.text in ("=", ":") and s.before_text not in ("else", "in"), _keyword_as_name),
    (lambda s: s.text in (")", "]") and not s.value_wanted, _stray_closing),
    (lambda s: s.kind == "_NL" and s.unclosed is not None, _unclosed),
    (lambda s: s.kind == "_NL" and "ELSE" in s.accepts and "if" in s.texts, _missing_else),
    (lambda s: s.text in (")", "]", ",") and "ELSE" in s.accepts and "if" in s.texts, _missing_else),
    (lambda s: s.before_text == ":" and "_NL" not in s.accepts and s.kind == "_NL" and "_INDENT" in s.accepts, _block_missing),
    (lambda s: s.before_kind == "_NL" and "_INDENT" in s.accepts, _block_missing),
    (lambda s: s.text == "=", _single_equal),
    (lambda s: s.text in (",", ")", "]") and s.value_wanted and s.before_text in ("(", "[", ","), _empty_argument),
    (lambda s: s.text in _OPERATORS and s.value_wanted and s.before_text in _OPERATORS, _double_operator),
    (lambda s: s.value_wanted and s.before_kind != "", _missing_value),
    (lambda s: not s.before_kind, _bad_left_side),
    (
        lambda s: (
            s.kind in ("NAME", "NUMBER")
            and s.value_before
            and any(t in ("=", "(", "[", "check", "return", "minimize", "grad") for t in s.texts)
        ),
        _two_values,
    ),
    (
        lambda s: (
            s.before_kind == "NAME"
            and "EQUAL" in s.accepts
            and "COLON" in s.accepts
            and (s.text in _OPERATORS or s.kind in ("_NL", "LPAR", "DOT"))
        ),
        _bare_expression,
    ),
    (lambda s: "EQUAL" in s.accepts and "COLON" in s.accepts, _leaf_needs),
    (lambda s: "NAME" in s.accepts and "NUMBER" not in s.accepts, _expected_name),
)


def explain(stop: Stop) -> Diagnostic:
    return next((make for holds, make in CASES if holds(stop)), _other)(stop)
