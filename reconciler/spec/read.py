"""Typed reading of single values out of the syntax tree.

The schema has been applied before, and has said what it had to say: what does not have the expected
shape is passed over in silence here, so that each fault is reported once and the rest of the
document is still read.
"""

from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from reconciler.errors import NameInvalid
from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding, excerpt
from reconciler.spec.scalars import Kind, kind, parse_duration
from reconciler.spec.syntax import MappingNode, Node, ScalarNode, SequenceNode

_Choice = TypeVar("_Choice", bound=Enum)
_Name = TypeVar("_Name", bound=str)


class Reader:
    """Reads values and collects findings, except where one was KNOWN before."""

    def __init__(self, known: Iterable[Finding]) -> None:
        self._known = {finding.position for finding in known}
        self._findings: list[Finding] = []

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return tuple(self._findings)

    def fault(self, position: SourcePosition, message: str, hint: str) -> None:
        """Note a fault, unless the schema has named one at the same place."""
        if position not in self._known:
            self._findings.append(Finding(position, message, hint))

    def section(self, mapping: MappingNode | None, key: str) -> MappingNode | None:
        """Find the mapping below KEY."""
        node = mapping.get(key) if mapping else None
        return node if isinstance(node, MappingNode) else None

    def scalar(self, mapping: MappingNode | None, key: str) -> ScalarNode | None:
        """Find the text of KEY: in quotes, or plain and nothing but text."""
        node = mapping.get(key) if mapping else None
        return node if isinstance(node, ScalarNode) and kind(node) is Kind.TEXT else None

    def text(self, mapping: MappingNode | None, key: str) -> str | None:
        """Read the text of KEY, one line."""
        node = self.scalar(mapping, key)
        return self.line(node) if node else None

    def line(self, node: ScalarNode) -> str | None:
        """Read NODE, which must be one line."""
        if "\n" in node.text or "\t" in node.text:
            self.fault(node.position, "a line break or tab inside this text", "write one line")
            return None
        return node.text

    def name(self, node: ScalarNode | None, parse: type[_Name]) -> _Name | None:
        """Read NODE as a name; says what is wrong with it."""
        if node is None:
            return None
        try:
            return parse(node.text)
        except NameInvalid as error:
            message = f"{excerpt(error.text)} is not a {error.what}"
            self.fault(node.position, message, f"write {error.instead}")
            return None

    def flag(self, mapping: MappingNode | None, key: str) -> bool:
        """Read the truth value of KEY; false if it is not given."""
        node = mapping.get(key) if mapping else None
        return isinstance(node, ScalarNode) and kind(node) is Kind.TRUTH and node.text == "true"

    def whole(self, mapping: MappingNode | None, key: str) -> int | None:
        """Read the whole number of KEY."""
        node = mapping.get(key) if mapping else None
        return (
            int(node.text) if isinstance(node, ScalarNode) and kind(node) is Kind.INTEGER else None
        )

    def choice(self, mapping: MappingNode | None, key: str, words: type[_Choice]) -> _Choice | None:
        """Read the word of KEY as one of WORDS."""
        node = self.scalar(mapping, key)
        return next((word for word in words if node and word.value == node.text), None)

    def duration(
        self, mapping: MappingNode | None, key: str, least: timedelta = timedelta(0)
    ) -> timedelta | None:
        """Read the duration of KEY, which must be at least LEAST."""
        node = mapping.get(key) if mapping else None
        if not isinstance(node, ScalarNode):
            return None
        duration = parse_duration(node.text)
        if duration is None:
            if kind(node) is Kind.TEXT:
                message = f"{excerpt(node.text)} is longer than a hundred years"
                self.fault(node.position, message, "write a shorter time")
        elif duration < least:
            message = f"{excerpt(node.text)} is too short for '{key}'"
            self.fault(node.position, message, f"write at least {int(least.total_seconds())}s")
            return None
        return duration

    def arguments(self, mapping: MappingNode | None, key: str) -> tuple[str, ...]:
        """Read the list of texts of KEY; empty if it is not given."""
        node = mapping.get(key) if mapping else None
        items: tuple[Node, ...] = node.items if isinstance(node, SequenceNode) else ()
        return tuple(
            item.text for item in items if isinstance(item, ScalarNode) and kind(item) is Kind.TEXT
        )

    def command(self, mapping: MappingNode | None, key: str) -> tuple[str, ...]:
        """Read the list of texts of KEY, whose first must be an absolute path."""
        arguments = self.arguments(mapping, key)
        node = mapping.get(key) if mapping else None
        if arguments and isinstance(node, SequenceNode) and not arguments[0].startswith("/"):
            message = f"{excerpt(arguments[0])} is not an absolute path"
            self.fault(node.items[0].position, message, "write the whole path of the program")
        return arguments

    def relative_path(self, node: ScalarNode | None) -> str | None:
        """Read NODE as a path that cannot lead out of where it begins."""
        path = self.line(node) if node else None
        if node is None or not path:
            return None
        parts = path.split("/")
        if path.startswith("/"):
            self.fault(
                node.position, f"{excerpt(path)} is an absolute path", "write a relative one"
            )
        elif ".." in parts:
            self.fault(node.position, f"{excerpt(path)} leads out with '..'", "write it without")
        elif "" in parts or "." in parts:
            self.fault(node.position, f"{excerpt(path)} has an empty part", "write it without")
        elif parts[0] == ".ckptree":
            self.fault(
                node.position, f"{excerpt(path)} lies in ckptree's own folder", "use another folder"
            )
        else:
            return path
        return None
