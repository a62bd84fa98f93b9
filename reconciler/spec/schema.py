"""Validation against the published JSON Schema, the very one that editors use.

jsonschema decides what is wrong, and ``complaints`` says it: the sentences must not depend on the
library's version. Values are handed over as YAML 1.2 readers see them, except that words on which
readers disagree are handed over as what no schema accepts.
"""

import json
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from reconciler.spec.complaints import complaints
from reconciler.spec.findings import Finding
from reconciler.spec.scalars import Kind, kind
from reconciler.spec.syntax import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FILE = "vm.schema.json"
_DEEPEST_CALLS = 5000  # jsonschema calls itself some seven times for each level of a document
# Keys whose plain value is taken as its text, whatever it looks like.
_TAKEN_AS_TEXT = {"expires": {Kind.DATE}, "again": {Kind.DATE, Kind.INTEGER}}

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | bool | _Ambiguous | None"


class _Ambiguous:
    """A value of no JSON type: what stands here is read differently by different programs."""


def schema_text() -> str:
    """Give the schema: from the installed package, or from the checkout that this is run from."""
    packaged = resources.files("reconciler.spec") / _FILE
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    checkout = Path(__file__).parents[2] / "schemas" / _FILE
    return checkout.read_text(encoding="utf-8")


def check(root: Node) -> tuple[Finding, ...]:
    """Give everything in which ROOT differs from the schema."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEPEST_CALLS))
    try:
        errors = _validator().iter_errors(cast("Any", plain(root)))
        found = {finding for error in errors for finding in complaints(error, root)}
    finally:
        sys.setrecursionlimit(limit)
    return tuple(sorted(found))


@cache
def _validator() -> "Validator":
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema_text()))


def plain(node: Node, key: str = "") -> Plain:
    """Turn NODE, the value of KEY, into the data that the schema speaks of."""
    match node:
        case ScalarNode():
            return _scalar(node, key)
        case SequenceNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            values: dict[str, Plain] = {}
            for entry in node.entries:
                below = "" if key == "labels" else entry.key.text
                values.setdefault(entry.key.text, plain(entry.value, below))
            return values


def _scalar(node: ScalarNode, key: str) -> str | int | bool | _Ambiguous | None:
    found = kind(node)
    if found in _TAKEN_AS_TEXT.get(key, ()):
        return node.text
    match found:
        case Kind.TEXT:
            return node.text
        case Kind.NOTHING:
            return None
        case Kind.TRUTH:
            return node.text == "true"
        case Kind.INTEGER:
            return int(node.text)
        case Kind.WORD_OF_TRUTH | Kind.NUMBER | Kind.DATE:
            return _Ambiguous()
