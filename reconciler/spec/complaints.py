"""Our own sentences for what jsonschema finds, with the place in the file.

Only the structured part of an error is used (keyword, path, the schema's own words), never its
message. The schema carries the words where a keyword cannot: ``title`` names the thing,
``errorMessage`` says what to write, and editors show the latter too.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding, excerpt
from reconciler.spec.scalars import Kind, kind
from reconciler.spec.syntax import MappingNode, Node, ScalarNode, SequenceNode, empty

if TYPE_CHECKING:
    from jsonschema import ValidationError

_TYPES = {
    "string": ("text", "write text"),
    "object": ("a mapping", "write 'key: value' lines below it"),
    "array": ("a list", "write a list, for example [one, two]"),
    "boolean": ("true or false", "write true or false"),
    "integer": ("a whole number", "write a whole number"),
    "null": ("nothing", "write nothing"),
}


def complaints(error: "ValidationError", root: Node) -> Iterator[Finding]:
    """Give the findings that ERROR about ROOT amounts to; equal ones may come more than once."""
    path = list(error.absolute_path)
    name, node = _locate(root, path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    match error.validator:
        case "additionalProperties" if isinstance(node, MappingNode):
            yield from _unknown_keys(node, [str(key) for key in schema["properties"]], path)
        case "required" if isinstance(node, MappingNode):
            yield from _missing(node, schema)
        case "type":
            yield _wrong_type(name, node, schema)
        case "enum":
            yield _wrong_word(name, node, [str(word) for word in schema["enum"]])
        case "not" if isinstance(node, MappingNode):
            clash = [entry.key.position for key in schema["not"]["required"]
                     if (entry := node.entry(key))]  # fmt: skip
            yield Finding(max(clash), str(schema["title"]), str(schema["errorMessage"]))
        case "oneOf":
            if isinstance(node, MappingNode):
                yield Finding(node.position, str(schema["title"]), str(schema["errorMessage"]))
        case _:
            yield _invalid(error.instance, node, schema)


def suggestion(word: str, known: list[str]) -> str | None:
    """Find the one of KNOWN that WORD was probably meant to be."""
    lowered = {name.lower(): name for name in known}
    close = get_close_matches(word.lower().replace("_", "-"), lowered, n=1, cutoff=0.7)
    return lowered[close[0]] if close else None


def _locate(root: Node, path: list[str | int]) -> tuple[str, Node]:
    """Follow PATH; give the node with how a message names it."""
    node, name = root, "the document"
    for step in path:
        match node:
            case MappingNode():
                found = node.get(str(step))
                name = excerpt(str(step))
            case SequenceNode() if isinstance(step, int):
                found = node.items[step]
                name = f"item {step + 1}"
            case _:
                found = None
        if found is None:
            break
        node = found
    return name, node


def _unknown_keys(node: MappingNode, known: list[str], path: list[str | int]) -> Iterator[Finding]:
    in_checkpoint = len(path) >= 2 and path[-2] == "checkpoints"
    for entry in node.entries:
        key = entry.key.text
        if key in known:
            continue
        close = suggestion(key, known)
        if close:
            hint = f"write '{close}'"
        elif in_checkpoint and (isinstance(entry.value, MappingNode) or empty(entry.value)):
            hint = "write a checkpoint's children under its own 'checkpoints:'"
        elif len(known) == 1:
            hint = f"write '{known[0]}'"
        else:
            hint = f"write one of {', '.join(known)}"
        yield Finding(entry.key.position, f"unknown key {excerpt(key)}", hint)


def _missing(node: MappingNode, schema: Mapping[str, Any]) -> Iterator[Finding]:
    # jsonschema reports each missing key on its own and names it in its message only: the
    # caller drops repeats.
    misspelt = {suggestion(entry.key.text, list(schema["properties"])) for entry in node.entries}
    for key in schema["required"]:
        if node.entry(key) is None and key not in misspelt:
            yield Finding(node.position, f"the key '{key}' is missing", _example(schema, key))


def _example(schema: Mapping[str, Any], key: str) -> str:
    properties = schema.get("properties")
    described = properties.get(key) if isinstance(properties, Mapping) else None
    examples = described.get("examples") if isinstance(described, Mapping) else None
    return f"write '{key}: {_flow(examples[0])}'" if examples else f"write '{key}: ...'"


def _flow(value: object) -> str:
    """Write an example of the schema as YAML in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(item) for item in value) + "]"
        case _:
            return str(value)


def _wrong_type(name: str, node: Node, schema: Mapping[str, Any]) -> Finding:
    wanted = schema["type"]
    names = [str(item) for item in wanted] if isinstance(wanted, list) else [str(wanted)]
    words, hint = _TYPES[names[0]]
    hint = str(schema.get("errorMessage", hint))
    if not isinstance(node, ScalarNode):
        found = "a list" if isinstance(node, SequenceNode) else "a mapping"
        return Finding(node.position, f"{name} must be {words}, not {found}", hint)
    if empty(node):
        return Finding(node.position, f"{name} is empty", hint)
    if not node.plain and "string" not in names:
        unquoted = ScalarNode(node.text, plain=True, position=node.position)
        hint = hint if kind(unquoted) is Kind.TEXT else "write it without quotes"
    if "boolean" in names or ("string" not in names and "integer" not in names):
        return Finding(node.position, f"{name} must be {words}, not {excerpt(node.text)}", hint)
    if "string" not in names or kind(node) is Kind.TEXT:
        return Finding(node.position, f"{excerpt(node.text)} is not {words}", hint)
    if not re.search(str(schema.get("pattern", "")), node.text):
        return _invalid(node.text, node, schema)  # quotes would not make it valid
    return ambiguous(node)


def ambiguous(node: ScalarNode) -> Finding:
    """Refuse a plain word that YAML readers take for something else than text."""
    return Finding(
        node.position,
        f"{excerpt(node.text)} is read as {kind(node).value} and not as text",
        f'write it in quotes: "{node.text}"',
    )


def _wrong_word(name: str, node: Node, words: list[str]) -> Finding:
    choice = f"write {', '.join(words[:-1])} or {words[-1]}"
    if not isinstance(node, ScalarNode):
        return Finding(node.position, f"{name} must be one word", choice)
    if empty(node):
        return Finding(node.position, f"{name} is empty", f"{choice}; or leave it out")
    close = suggestion(node.text, words)
    hint = f"write '{close}'" if close else choice
    return Finding(node.position, f"{excerpt(node.text)} is no value of {name}", hint)


def _invalid(instance: object, node: Node, schema: Mapping[str, Any]) -> Finding:
    title = str(schema.get("title", "value"))
    hint = str(schema.get("errorMessage", "see the description of this key"))
    position, shown = _place(instance, node)
    if shown is None:
        return Finding(position, f"this is not a valid {title}", hint)
    return Finding(position, f"{excerpt(shown)} is not a valid {title}", hint)


def _place(instance: object, node: Node) -> tuple[SourcePosition, str | None]:
    if isinstance(node, MappingNode) and isinstance(instance, str):
        # A key, refused by propertyNames: the error's path ends at the mapping.
        entry = node.entry(instance)
        return (entry.key.position if entry else node.position), instance
    return node.position, (node.text if isinstance(node, ScalarNode) else None)
