"""YAML text to the syntax tree, with PyYAML's event parser and nothing else of it.

Events, because they are read without recursion and show what a composed tree hides: anchors, tags,
duplicate keys. The fast parser (libyaml) and the pure one do not agree on everything: whenever the
fast one stumbles, or meets one of the things on which they are known to differ, the pure one has
the word. So a file means the same on a host without libyaml. The parsers' own messages are never
shown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding, excerpt
from reconciler.spec.scalars import Kind, kind
from reconciler.spec.syntax import Entry, MappingNode, Node, ScalarNode, SequenceNode, empty
from reconciler.spec.text import FORBIDDEN
from reconciler.spec.wording import syntax_fault

if TYPE_CHECKING:
    import yaml

DEEPEST = 200
_NOT_A_CHARACTER = re.compile(r"\\U(?!0010|000[0-9A-Fa-f])")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of a text: no ROOT if the tree would have holes, an empty one for an empty text."""

    root: Node | None
    findings: tuple[Finding, ...]


def parse(text: str, file: str) -> Parsed:
    """Parse the one document of TEXT; faults are findings, whatever the text is."""
    import yaml

    fast = getattr(yaml, "CSafeLoader", None)
    if fast:
        builder = _Builder(file)
        try:
            builder.read(yaml.parse(text, Loader=fast))
        except yaml.YAMLError:
            builder.doubtful = True
        if not builder.doubtful and not builder.findings:
            return builder.result()
    builder = _Builder(file)
    try:
        builder.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        return Parsed(None, (syntax_fault(error, text, file),))
    except (ValueError, OverflowError):  # what PyYAML makes of an escape beyond Unicode
        return Parsed(None, (_bad_escape(text, file),))
    return builder.result()


def _bad_escape(text: str, file: str) -> Finding:
    match = _NOT_A_CHARACTER.search(text)
    before = text[: match.start()] if match else ""
    column = len(before) - before.rfind("\n")
    position = SourcePosition(file, before.count("\n") + 1, column)
    return Finding(position, "this escape stands for no character", "write the character itself")


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet; KEY waits for its value in a mapping."""

    position: SourcePosition
    mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    key: ScalarNode | None = None


class _Builder:
    """Builds the tree from events, and collects what is refused on the way."""

    def __init__(self, file: str) -> None:
        self.findings: list[Finding] = []
        self.doubtful = False
        self._file = file
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._whole = True
        self._documents = 0

    def result(self) -> Parsed:
        """Give what was built."""
        if not self._documents:
            self._root = ScalarNode("", plain=True, position=SourcePosition(self._file, 1, 1))
        return Parsed(self._root if self._whole else None, tuple(sorted(self.findings)))

    def read(self, events: "Iterable[yaml.Event]") -> None:
        """Read EVENTS to the end, or to the first that makes it useless to read on."""
        for event in events:
            if not self._event(event):
                return

    def _event(self, event: "yaml.Event") -> bool:
        import yaml

        position = self._place(event)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse(
                        position, "a second document", "write each VM in a file of its own"
                    )
                    return False
            case yaml.AliasEvent():
                self._refuse(position, f"the alias *{event.anchor}", "write the value itself")
                self._add(ScalarNode("", plain=True, position=position))
            case yaml.ScalarEvent():
                self._marks(event, position)
                self._scalar(event, position)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._marks(event, position)
                if len(self._stack) == DEEPEST:
                    self._refuse(
                        position,
                        f"nested more than {DEEPEST} levels deep",
                        "write fewer levels; two levels are one checkpoint below another",
                    )
                    return False
                mapping = isinstance(event, yaml.MappingStartEvent)
                self._stack.append(_Open(position, mapping))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(self._stack.pop())
            case _:
                pass
        return True

    def _place(self, event: "yaml.Event") -> SourcePosition:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return SourcePosition(self._file, line, column)

    def _refuse(self, position: SourcePosition, message: str, hint: str) -> None:
        self.findings.append(Finding(position, message, hint))
        self._whole = False

    def _marks(
        self,
        event: "yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent",
        position: SourcePosition,
    ) -> None:
        if event.anchor is not None:
            message = f"the anchor &{event.anchor}"
            self.findings.append(Finding(position, message, "write the value without it"))
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            message = f"the tag {excerpt(tag)}"
            self.findings.append(Finding(position, message, "write the value without it"))

    def _scalar(self, event: "yaml.ScalarEvent", position: SourcePosition) -> None:
        plain = event.style not in {"'", '"', "|", ">"}
        # A comment glued to a block's header and a question mark inside brackets are refused by
        # one of the parsers only.
        self.doubtful = self.doubtful or event.style in {"|", ">"} or (plain and "?" in event.value)
        odd = FORBIDDEN.search(event.value)
        if odd:
            message = f"the text holds the character U+{ord(odd.group()):04X}"
            self.findings.append(Finding(position, message, "remove it"))
        self._add(ScalarNode(event.value, plain, position))

    def _close(self, opened: _Open) -> None:
        if not opened.mapping:
            self._add(SequenceNode(tuple(opened.items), opened.position))
            return
        first: dict[str, int] = {}
        for entry in opened.entries:
            key = entry.key
            if key.text in first:
                message = (
                    f"the key {excerpt(key.text)} is written twice, first in line {first[key.text]}"
                )
                self.findings.append(Finding(key.position, message, "write it once"))
            first.setdefault(key.text, key.position.line)
        self._add(MappingNode(tuple(opened.entries), opened.position))

    def _add(self, node: Node) -> None:
        if not self._stack:
            start = SourcePosition(self._file, 1, 1)
            self._root = ScalarNode("", plain=True, position=start) if empty(node) else node
            return
        top = self._stack[-1]
        if not top.mapping:
            top.items.append(node)
        elif top.key is None:
            top.key = self._key(node)
        else:
            top.entries.append(Entry(top.key, _placed(node, top.key)))
            top.key = None

    def _key(self, node: Node) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            self._refuse(node.position, "a key that is a list or a mapping", "write one word")
            return ScalarNode("", plain=False, position=node.position)
        if node.plain and node.text == "<<":
            self._refuse(node.position, "the merge key '<<'", "write the keys themselves")
        elif kind(node) is Kind.NOTHING and not node.text:
            self._refuse(node.position, "a value without a key", "write 'key: value'")
        return node


def _placed(value: Node, key: ScalarNode) -> Node:
    """Put a value that was not written where its key is; parsers place it differently."""
    if empty(value):
        return ScalarNode("", plain=True, position=key.position)
    return value
