"""The published schema: valid, explained, within what old tools understand; and the examples."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.spec.load import load_path
from reconciler.spec.schema import schema_text

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
SCHEMA: dict[str, Any] = json.loads(schema_text())
KEYWORDS = {
    "$schema", "$ref", "$defs", "title", "description", "default", "examples", "errorMessage",
    "type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "items", "minItems", "maxItems", "properties", "required", "additionalProperties",
    "propertyNames", "minProperties", "maxProperties", "allOf", "oneOf", "not",
}  # fmt: skip
NEED_WORDS = {
    "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
    "minProperties", "maxProperties", "not", "oneOf",
}  # fmt: skip


def schemas(node: dict[str, Any], path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk every schema inside NODE."""
    yield path, node
    for group in ("properties", "$defs"):
        for key, below in node.get(group, {}).items():
            yield from schemas(below, f"{path}/{group}/{key}")
    for key in ("items", "additionalProperties", "propertyNames", "not"):
        if isinstance(node.get(key), dict):
            yield from schemas(node[key], f"{path}/{key}")
    for group in ("allOf", "oneOf"):
        for number, below in enumerate(node.get(group, [])):
            yield from schemas(below, f"{path}/{group}/{number}")


def test_the_schema_is_a_valid_draft_2020_12_schema() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_uses_only_words_that_old_tools_understand() -> None:
    for path, schema in schemas(SCHEMA):
        assert set(schema) <= KEYWORDS, path
        assert schema.get("$ref", "#/$defs/").startswith("#/$defs/"), path


def test_every_key_is_described() -> None:
    bare = [
        f"{path}/{key}"
        for path, schema in schemas(SCHEMA)
        if "/not" not in path
        for key, below in schema.get("properties", {}).items()
        if len(below.get("description", "")) < 10
    ]
    assert bare == []


def test_every_rule_has_words_for_its_fault() -> None:
    for path, schema in schemas(SCHEMA):
        if NEED_WORDS & set(schema):
            assert {"title", "errorMessage"} <= set(schema), path


def test_every_mapping_is_closed() -> None:
    for path, schema in schemas(SCHEMA):
        if "properties" in schema and "/not" not in path:
            assert schema.get("additionalProperties") is False, path


def test_examples_and_defaults_of_the_schema_are_valid() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for path, schema in schemas(SCHEMA):
        values = list(schema.get("examples", []))
        if "default" in schema:
            values.append(schema["default"])
        for value in values:
            local = {**schema, "$defs": SCHEMA["$defs"]}
            assert validator.evolve(schema=local).is_valid(value), (path, value)


def test_there_are_examples() -> None:
    names = {str(path.relative_to(ROOT / "examples")) for path in EXAMPLES}
    assert {"single.yaml", "files-and-volumes.yaml", "production.yaml"} <= names
    assert len([name for name in names if name.startswith("five/")]) == 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_points_editors_to_the_schema(path: Path) -> None:
    loaded = load_path(path)
    assert [str(finding) for finding in loaded.findings] == []
    (vm,) = loaded.vms
    assert vm.dataset == f"tank/vm/{vm.vm}"
    modeline = path.read_text().splitlines()[0]
    start = "# yaml-language-server: $schema="
    assert modeline.startswith(start)
    assert (path.parent / modeline.removeprefix(start)).resolve() == ROOT / "schemas/vm.schema.json"


@pytest.mark.parametrize(
    "folder", ["examples", "examples/five", "examples/guests", "examples/group"]
)
def test_the_examples_of_a_folder_go_together(folder: str) -> None:
    assert load_path(ROOT / folder).findings == ()


def test_importing_the_loader_does_not_import_the_big_libraries() -> None:
    code = (
        "import sys, reconciler.spec.load;"
        "print([name for name in ('yaml', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
