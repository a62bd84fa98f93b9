"""The published schemas: valid, explained, within what old tools understand; and the examples."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.spec.load import load_path
from reconciler.spec.schema import Schema, schema_text

ROOT = Path(__file__).parents[3]
SETTINGS = ROOT / "examples/host/ckptree.yaml"
EXAMPLES = sorted(set((ROOT / "examples").rglob("*.yaml")) - {SETTINGS})
SCHEMAS: dict[Schema, dict[str, Any]] = {each: json.loads(schema_text(each)) for each in Schema}
both = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=[each.name for each in SCHEMAS])
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


@both
def test_the_schema_is_a_valid_draft_2020_12_schema(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@both
def test_the_schema_uses_only_words_that_old_tools_understand(schema: dict[str, Any]) -> None:
    for path, part in schemas(schema):
        assert set(part) <= KEYWORDS, path
        assert part.get("$ref", "#/$defs/").startswith("#/$defs/"), path


@both
def test_every_key_is_described(schema: dict[str, Any]) -> None:
    bare = [
        f"{path}/{key}"
        for path, part in schemas(schema)
        if "/not" not in path
        for key, below in part.get("properties", {}).items()
        if len(below.get("description", "")) < 10
    ]
    assert bare == []


@both
def test_every_rule_has_words_for_its_fault(schema: dict[str, Any]) -> None:
    for path, part in schemas(schema):
        if NEED_WORDS & set(part):
            assert {"title", "errorMessage"} <= set(part), path


@both
def test_every_mapping_is_closed(schema: dict[str, Any]) -> None:
    for path, part in schemas(schema):
        if "properties" in part and "/not" not in path:
            assert part.get("additionalProperties") is False, path


@both
def test_examples_and_defaults_of_the_schema_are_valid(schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    for path, part in schemas(schema):
        values = list(part.get("examples", []))
        if "default" in part:
            values.append(part["default"])
        for value in values:
            local = {**part, "$defs": schema["$defs"]}
            assert validator.evolve(schema=local).is_valid(value), (path, value)


def test_what_both_schemas_define_is_the_same() -> None:
    vm, host = (SCHEMAS[each]["$defs"] for each in (Schema.VM, Schema.HOST))
    shared = vm.keys() & host.keys()
    assert {"command", "duration", "windows"} <= shared
    assert {key: host[key] for key in shared} == {key: vm[key] for key in shared}


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


def test_the_sample_of_the_settings_points_editors_to_its_schema() -> None:
    start = "# yaml-language-server: $schema="
    modeline = SETTINGS.read_text().splitlines()[0].removeprefix(start)
    assert (SETTINGS.parent / modeline).resolve() == ROOT / "schemas/host.schema.json"


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
