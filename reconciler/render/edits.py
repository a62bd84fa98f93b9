"""The exact lines to write into a document so that what a condition asks for comes true.

A condition's ``resolve`` names what to write in single quotes (``'fork: true' at NAME``); here that is put where it
belongs in the text as it stands. What cannot be placed with certainty is left out: the sentence itself says it all.
Nothing is written; neighbour: ``explain``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Condition
from reconciler.names import NodeName
from reconciler.plan.document import Json

_QUOTED = re.compile(r"'([^']+)'(?: at ([A-Za-z0-9._-]+))?")
_OF_THE_VM = {"current", "restore", "prune", "suspend", "host"}
_OF_A_NODE = {"fork", "protect", "memory", "when", "was", "adopt", "expires", "keep"}
_KEY = re.compile(r"""(?P<key>\s*(?:"[^"]*"|'[^']*'|[^\s:#'"{][^:#{]*):)(?P<value>.*)""")
_COMMENT = re.compile(r"(^|\s)#.*$")
_STEP = 2  # columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """TEXT is to be line LINE of FILE: instead of the one there if it REPLACES that, else before it."""

    file: str
    line: int
    text: str
    replaces: bool

    def applied(self, source: str) -> str:
        """Write it into SOURCE."""
        lines = source.splitlines()
        lines[self.line - 1 : self.line - 1 + self.replaces] = [self.text]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {
            "file": self.file,
            "line": self.line,
            "text": self.text,
            "replaces": self.replaces,
        }


def commands_of(condition: Condition) -> tuple[str, ...]:
    """The commands that would resolve CONDITION."""
    quoted = (match[1] for match in _QUOTED.finditer(condition.resolve))
    return tuple(dict.fromkeys(text for text in quoted if text.startswith("ckptree ")))


def edits_of(condition: Condition, desired: DesiredVm, source: str) -> tuple[Edit, ...]:
    """Every edit of SOURCE, the text of the document DESIRED, that would resolve CONDITION; each by itself."""
    lines = source.splitlines()
    file = desired.position.file
    found: list[Edit] = []
    for match in _QUOTED.finditer(condition.resolve):
        entry = match[1]
        key, colon, value = entry.partition(": ")
        if not colon or "..." in value:
            continue
        if key in _OF_THE_VM:
            found += _of_the_vm(lines, file, key, value)
        elif key in _OF_A_NODE:
            named = match[2] if match[2] in desired.by_name else condition.node
            node = None if named is None else desired.by_name.get(NodeName(named))
            if node is not None and node.position.line <= len(lines):
                found += _into(lines, file, node.position.line, entry)
    return tuple(dict.fromkeys(found))


def _of_the_vm(lines: Sequence[str], file: str, key: str, value: str) -> Iterator[Edit]:
    there = next((n for n, line in enumerate(lines, 1) if line.startswith(f"{key}:")), None)
    inner = value.removeprefix("{").removesuffix("}")
    if there is None:
        text = f"{key}: {value}"
        yield Edit(file=file, line=len(lines) + 1, text=text, replaces=False)
    elif inner != value:
        yield from _into(lines, file, there, inner)
    else:
        yield Edit(file=file, line=there, text=f"{key}: {value}", replaces=True)


def _into(lines: Sequence[str], file: str, number: int, entry: str) -> Iterator[Edit]:
    """Write ENTRY, ``key: value``, into the mapping whose own key is in line NUMBER."""
    line = lines[number - 1]
    match = _KEY.match(line)
    if match is None:
        return
    head, rest = match["key"], _COMMENT.sub("", match["value"]).strip()
    if not rest:
        yield _into_block(lines, file, number, entry)
    elif rest in {"{}", "null", "~"}:
        yield Edit(file=file, line=number, text=f"{head} {{{entry}}}", replaces=True)
    elif rest.startswith("{") and rest.endswith("}") and "{" not in rest[1:]:
        key = entry.partition(":")[0]
        others = [part for part in rest[1:-1].split(", ") if not part.strip().startswith(f"{key}:")]
        inside = ", ".join([entry, *(part.strip() for part in others)])
        yield Edit(file=file, line=number, text=f"{head} {{{inside}}}", replaces=True)


def _into_block(lines: Sequence[str], file: str, number: int, entry: str) -> Edit:
    own = _indent(lines[number - 1])
    below = []
    for at, line in enumerate(lines[number:], number + 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _indent(line) <= own:
            break
        below.append(at)
    indent = _indent(lines[below[0] - 1]) if below else own + _STEP
    text = " " * indent + entry
    key = f"{entry.partition(':')[0]}:"
    for at in below:
        if _indent(lines[at - 1]) == indent and lines[at - 1].lstrip().startswith(key):
            return Edit(file=file, line=at, text=text, replaces=True)
    return Edit(file=file, line=number + 1, text=text, replaces=False)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
