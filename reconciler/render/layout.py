"""Lines of coloured pieces, wrapped to a width: all that knows of columns and control characters.

Text from people and from other programs goes through here, so no control character reaches a
terminal, and no line ends in a space. Something in single quotes (a command, a line of YAML) is
never broken: people copy it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from reconciler.render.style import Role, Style

_NARROWEST = 24  # columns of text that remain beside any indentation
# A quoted piece, an opening quote being one that follows no letter; else a run without spaces; else spaces.
_ATOM = re.compile(r"(?<![\w)])'[^']+'[^\s]*|[^\s']+|'|\s+")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one colour."""

    text: str
    role: Role = Role.PLAIN


Piece = Span | str


class Page:
    """A text in the making."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._lines: list[str] = []

    def line(
        self, *pieces: Piece, first: Sequence[Piece] | str = "", rest: Sequence[Piece] | str = ""
    ) -> None:
        """Add PIECES, wrapped; FIRST goes before the first line, REST (else as many spaces) before the others."""
        lead = _spans([first] if isinstance(first, str) else first)
        hang = _spans([rest] if isinstance(rest, str) else rest) or [Span(" " * _width(lead))]
        words = _words(_spans(pieces))
        start = lead
        for row in _rows(words, self._style.width, max(_width(lead), _width(hang))):
            self._lines.append(_painted([*start, *row], self._style))
            start = hang

    def blank(self) -> None:
        """Add an empty line, never two in a row and none at the beginning."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def text(self) -> str:
        """Tell everything so far; ends in a newline unless there is nothing."""
        lines = self._lines[:-1] if self._lines and not self._lines[-1] else self._lines
        return "".join(f"{line}\n" for line in lines)


def printable(text: str, *, unicode: bool) -> str:
    """Make TEXT one line of characters that a terminal shows as they are; others become ``?``."""
    joined = " ".join(text.split()) if any(char in text for char in "\n\r\t\v\f") else text
    return "".join(
        char if char.isprintable() and (unicode or char.isascii()) else "?" for char in joined
    )


def shortened(text: str, most: int, style: Style) -> str:
    """Cut TEXT to at most so many characters, with an ellipsis where something was cut."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    return line[: most - len(style.glyphs.ellipsis)].rstrip() + style.glyphs.ellipsis


def columns(text: str) -> int:
    """Tell how many columns of a terminal TEXT takes."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Fill TEXT up with spaces to WIDTH columns."""
    fill = " " * max(0, width - columns(text))
    return fill + text if right else text + fill


def _spans(pieces: Iterable[Piece]) -> list[Span]:
    spans = (Span(piece) if isinstance(piece, str) else piece for piece in pieces)
    return [span for span in spans if span.text]


def _width(spans: Iterable[Span]) -> int:
    return sum(columns(span.text) for span in spans)


def _words(spans: list[Span]) -> list[list[Span]]:
    """Take SPANS apart into words; each keeps the spaces before it as a first span of their own."""
    words: list[list[Span]] = [[]]
    for span in spans:
        for atom in _ATOM.findall(span.text):
            if atom.isspace():
                words.append([Span(atom, span.role)])
            else:
                words[-1].append(Span(atom, span.role))
    return [word for word in words if word]


def _rows(words: list[list[Span]], width: int, lead: int) -> Iterable[list[Span]]:
    room = max(_NARROWEST, width - lead) if width else None
    row: list[Span] = []
    used = 0
    for word in words:
        needs = _width(word)
        if row and room is not None and used + needs > room:
            yield row
            row, used = [], 0
            word = [span for span in word if not span.text.isspace()]  # noqa: PLW2901 - the space was the break
            needs = _width(word)
        row += word
        used += needs
    yield row


def _painted(spans: list[Span], style: Style) -> str:
    clean = [Span(printable(span.text, unicode=style.unicode), span.role) for span in spans]
    while clean and not clean[-1].text.rstrip():
        clean.pop()
    if clean:
        clean[-1] = Span(clean[-1].text.rstrip(), clean[-1].role)
    # Spaces have no colour of their own: they join the piece before them.
    parts: list[Span] = []
    for span in clean:
        role = parts[-1].role if parts and span.text.isspace() else span.role
        parts.append(Span(span.text, role))
    return "".join(
        style.paint("".join(span.text for span in group), role)
        for role, group in groupby(parts, key=lambda span: span.role)
    )
