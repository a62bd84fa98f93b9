"""One clear sentence for a text that is no YAML at all.

The parser's problem text chooses the sentence and is never shown; one that is not known here gets
the general sentence, so another version of PyYAML can make a message vaguer and never wrong.
"""

from typing import TYPE_CHECKING

from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding

if TYPE_CHECKING:
    import yaml

_GENERAL = ("this is not YAML", "write 'key: value' lines with even indentation")
_QUOTES = "put the text in quotes"
_UNCLOSED = ("a quote is never closed", "write the closing quote")
_ESCAPE = ("an unknown escape after '\\'", "write '\\\\', or use single quotes")
_UNEVEN = ("the indentation fits no line above", "indent it like its neighbours")
_SENTENCES = {
    "mapping values are not allowed": ("a second ':' here, or a wrong indentation", _QUOTES),
    "could not find expected ':'": ("a line without ':'", "write 'key: value'"),
    "expected <block end>": _UNEVEN,
    "expected ',' or ']'": ("a list in brackets is not closed here", "write ',' or ']'"),
    "expected ',' or '}'": ("a mapping in braces is not closed here", "write ',' or '}'"),
    "expected the node content": ("something is missing", "write the value, or close the bracket"),
    "unknown escape character": _ESCAPE,
    "escape sequence of": _ESCAPE,
    "cannot start any token": ("text cannot begin with this character", _QUOTES),
    "sequence entries are not allowed": ("a list cannot begin here", "write it in a new line"),
    "mapping keys are not allowed": ("a key cannot stand here", "write 'key: value' lines"),
    "expected alphabetic or numeric": ("text cannot begin with '&' or '*'", _QUOTES),
    "expected '<document start>'": ("text after the end of the document", "remove it"),
    "expected a comment or a line break": ("text after '|' or '>'", "write it in the next line"),
    "indentation indicator": ("a wrong number after '|' or '>'", "remove the number"),
}
# The place of these is where the quote was opened: the end of the file helps nobody.
_OPENED = ("unexpected end of stream", "unexpected document separator")


def syntax_fault(error: "yaml.YAMLError", text: str, file: str) -> Finding:
    """Turn a parser's ERROR over TEXT into a finding."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or "")
    known = (words for fragment, words in _SENTENCES.items() if fragment in problem)
    message, hint = next(known, _GENERAL)
    if any(fragment in problem for fragment in _OPENED):
        mark = getattr(error, "context_mark", None) or mark
        message, hint = _UNCLOSED
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Finding(SourcePosition(file, *_inside(text, line, column)), message, hint)


def _inside(text: str, line: int, column: int) -> tuple[int, int]:
    """Move a place behind the last line back to the end of what was written."""
    lines = text.rstrip("\n ").split("\n")
    return (line, column) if line <= len(lines) else (len(lines), len(lines[-1]) + 1)
