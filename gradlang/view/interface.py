"""The part of a model that shows it: `Model.explain`, `Model.picture`, `Model.diff`, and what notebooks show of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.record import record
from gradlang.runtime.bind import whole

if TYPE_CHECKING:
    from gradlang.view.derivative import Derivatives

NONE: Mapping[str, Any] = {}
Names = str | Iterable[str] | None


class Viewing:
    """What a model is when it is looked at. NumPy is imported by the calls."""

    def explain(
        self: Any,
        given: Mapping[str, Any] = NONE,
        of: str | None = None,
        wrt: Names = None,
        upstream: Any = 1.0,
        lang: str = "en",
        digits: int | None = None,
    ) -> Shown:
        """The forward and the backward pass for inputs with these values, in words and numbers: what `gradlang explain` prints,
        as a text (`str`). `of` is a definition (default: the only output), `wrt` leaves (default: all), `upstream` the
        derivative that flows in, of the shape of `of`; `lang` is en or ko. Raises InputError as a call does."""
        from gradlang.view.explain import explained
        from gradlang.view.words import LANGUAGES

        one_of("lang", lang, LANGUAGES)
        no_fewer_digits(digits)
        name = self._one(of)
        return Shown(explained(self, name, self._wrt(wrt, name), given, upstream, lang, digits).text(), "")

    def picture(
        self: Any,
        given: Mapping[str, Any] = NONE,
        of: str | None = None,
        wrt: Names = None,
        upstream: Any = 1.0,
        constants: str = "inside",
        open: Iterable[str] = (),
        blank: bool = False,
        digits: int = 6,
    ) -> Shown:
        """The computation graph with values above the edges and derivatives below: what `gradlang graph` draws, with an SVG
        text as `.svg`. `constants` is inside or leaves, `open` names functions whose nodes are shown ("all"), `blank` leaves
        the derivatives to be filled in; the rest is as for `explain`."""
        from gradlang.view.geometry import draw
        from gradlang.view.picture import Style, picture
        from gradlang.view.story import story
        from gradlang.view.svg import about, svg
        from gradlang.view.trace import trace

        one_of("constants", constants, ("inside", "leaves"))
        no_fewer_digits(digits)
        name = self._one(of)
        told = story(trace(self, name, given, self._wrt(wrt, name), upstream), digits)
        opened = (open,) if isinstance(open, str) else tuple(open)
        drawn = draw(picture(told, Style(constants, opened, digits)), blank)
        return Shown(f"<the computation graph of {name}>", svg(drawn, about(told)))

    def diff(self: Any, of: str | None = None, wrt: Names = None, given: Mapping[str, Any] | None = None) -> Derivatives:
        """The derivatives of a definition as formulas: what `gradlang diff` prints, as `.text()`; with `given` with numbers."""
        from gradlang.view.derivative import derivatives

        name = self._one(of)
        return derivatives(self, name, self._wrt(wrt, name), given)

    def _repr_mimebundle_(self: Any, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What notebooks show: the picture, where every input has a value and there is one result."""
        bundle = {"text/plain": repr(self)}
        if len(self.program.outputs) == 1 and not any(leaf.required for leaf in self.program.callable_leaves()):
            bundle["image/svg+xml"] = self.picture().svg
        return bundle


def one_of(what: str, given: object, known: Sequence[str]) -> None:
    if given not in known:
        text = f"`{what}` is {' or '.join(known)}, not {given!r}"
        raise InputError([Diagnostic("G508", text, help=did_you_mean(str(given), list(known)))])


def no_fewer_digits(digits: object) -> None:
    """Raises InputError for a number of significant digits that is none."""
    if digits is not None and whole(digits, 1) is None:
        raise InputError([Diagnostic("G508", f"`digits` is a whole number from 1 on, not {digits!r}")])


@record
class Shown:
    """A text, and the picture that notebooks show in its place ("" for none)."""

    text: str
    svg: str

    def save(self, path: str | Path) -> None:
        """Writes the picture (or the text, where there is none) to a file, whole or not at all. Raises InputError if it cannot
        be written."""
        from gradlang.runtime.saving import save

        save(path, (self.svg or self.text).encode())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = {"text/plain": self.text}
        if self.svg:
            bundle["image/svg+xml"] = self.svg
        else:
            from html import escape

            bundle["text/html"] = f"<pre>{escape(self.text)}</pre>"
        return bundle

    def __str__(self) -> str:
        return self.text
