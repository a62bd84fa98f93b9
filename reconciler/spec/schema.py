"""Validation against the published JSON Schemas, the very ones that editors use.

jsonschema decides what is wrong, and ``complaints`` says it: the sentences must not depend on the
library's version. Values are handed over as YAML 1.2 readers see them, except that words on which
readers disagree are handed over as what no schema accepts.
"""

import json
import sys
from enum import Enum
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

_DEEPEST_CALLS = 5000  # jsonschema calls itself some seven times for each level of a document
# Keys whose plain value is taken as its text, whatever it looks like.
_TAKEN_AS_TEXT = {
    "expires": {Kind.DATE},
    "again": {Kind.DATE, Kind.INTEGER},
    "from": {Kind.NUMBER},
    "until": {Kind.NUMBER},
}

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | bool | _Ambiguous | None"


class Schema(Enum):
    """The schemas there are, by the names of their files."""

    VM = "vm.schema.json"
    HOST = "host.schema.json"


class _Ambiguous:
    """A value of no JSON type: what stands here is read differently by different programs."""


def schema_text(schema: Schema) -> str:
    """Give SCHEMA: from the installed package, or from the checkout that this is run from."""
    packaged = resources.files("reconciler.spec") / schema.value
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    checkout = Path(__file__).parents[2] / "schemas" / schema.value
    return checkout.read_text(encoding="utf-8")


def check(root: Node, schema: Schema) -> tuple[Finding, ...]:
    """Give everything in which ROOT differs from SCHEMA."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEPEST_CALLS))
    try:
        errors = _validator(schema).iter_errors(cast("Any", plain(root)))
        found = {finding for error in errors for finding in complaints(error, root)}
    finally:
        sys.setrecursionlimit(limit)
    return tuple(sorted(found))


@cache
def _validator(schema: Schema) -> "Validator":
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema_text(schema)))


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
