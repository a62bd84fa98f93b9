"""A fault in an operator's file: where it is, what it is, and what to write instead.

Every module of ``spec`` makes these and none prints them. The text form is a promise to people and
editors (``file:line:column: message (hint)``), so it is made here and nowhere else.
"""

from dataclasses import dataclass

from reconciler.errors import CkptreeError
from reconciler.model.desired import SourcePosition

_LONGEST_EXCERPT = 60


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault; HINT says what to write instead. Findings sort by where they are."""

    position: SourcePosition
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.position}: {self.message} ({self.hint})"


class SpecInvalid(CkptreeError):
    """Files that cannot be acted on; the text is one line for each finding."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = tuple(sorted(findings))
        super().__init__("\n".join(str(finding) for finding in self.findings))


def as_json(finding: Finding) -> dict[str, str | int]:
    """Give the finding as `ckptree validate --format json` shows it."""
    return {
        "file": finding.position.file,
        "line": finding.position.line,
        "column": finding.position.column,
        "message": finding.message,
        "hint": finding.hint,
    }


def as_annotation(finding: Finding) -> str:
    """Give the finding as a workflow command, so that GitHub shows it beside the line."""
    file = _escape_data(finding.position.file).replace(":", "%3A").replace(",", "%2C")
    text = _escape_data(f"{finding.message} ({finding.hint})")
    return f"::error file={file},line={finding.position.line},col={finding.position.column}::{text}"


def excerpt(text: str) -> str:
    """Quote TEXT from a file for a message: one line, printable, and not too long."""
    cut = text if len(text) <= _LONGEST_EXCERPT else f"{text[: _LONGEST_EXCERPT - 3]}..."
    return "'" + "".join(char if char.isprintable() else _escape_char(char) for char in cut) + "'"


def _escape_char(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
