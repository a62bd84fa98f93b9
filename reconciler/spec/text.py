"""Bytes of a file to characters that every YAML reader sees alike.

What is refused here (tabs, control characters, odd line breaks, directives) is what the readers of
this world disagree about, or what hides from a reviewer's eye. Structure is the business of
``parse``.
"""

import re
from collections.abc import Iterator

from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding

LARGEST_FILE = 1024 * 1024

_BYTE_ORDER_MARK = "\ufeff"
# Control characters, the line breaks that only some programs know, surrogates, non-characters, and
# the marks that make an editor show text in another order than it is read.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_COMMENT_LINE = re.compile(r" *#")


def decode(data: bytes, file: str) -> str | tuple[Finding, ...]:
    """Give the text of DATA with plain line feeds, or what is wrong with it."""
    if len(data) > LARGEST_FILE:
        return (
            Finding(
                SourcePosition(file, 1, 1),
                "the file is larger than 1 MiB",
                "write one file for each VM, and less text",
            ),
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return (_not_utf8(data, error.start, file),)
    text = text.replace("\r\n", "\n")
    return tuple(_faults(text, file)) or text


def _not_utf8(data: bytes, start: int, file: str) -> Finding:
    before = data[:start].decode("utf-8")
    line_start = before.rfind("\n") + 1
    position = SourcePosition(file, before.count("\n") + 1, len(before) - line_start + 1)
    return Finding(position, "the file is not UTF-8 text", "save it with the encoding UTF-8")


def _faults(text: str, file: str) -> Iterator[Finding]:
    """Give the first fault of each line."""
    for number, line in enumerate(text.split("\n"), start=1):
        tab = -1 if _COMMENT_LINE.match(line) else line.find("\t")
        odd = FORBIDDEN.search(line)
        if odd:
            yield _forbidden(odd.group(), SourcePosition(file, number, odd.start() + 1))
        elif tab >= 0:
            position = SourcePosition(file, number, tab + 1)
            yield Finding(position, "a tab character", "write spaces")
        elif line.startswith("%"):
            position = SourcePosition(file, number, 1)
            yield Finding(position, "a line that begins with '%'", "remove this directive")


def _forbidden(char: str, position: SourcePosition) -> Finding:
    if char == _BYTE_ORDER_MARK:
        return Finding(position, "a byte order mark", "save the file as UTF-8 without one")
    if char == "\r":
        return Finding(position, "a lone carriage return", "end lines with a line feed")
    return Finding(position, f"the character U+{ord(char):04X} is not allowed", "remove it")
