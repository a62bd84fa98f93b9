"""Trees as people and programs read them, against golden files."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.observed import Gap
from reconciler.names import NodeName
from reconciler.render.style import Style
from reconciler.render.tree_nodes import NodeView, Phase, TreeView
from reconciler.render.tree_text import render_tree
from reconciler.render.tree_view import tree_view
from tests.unit.render import scenarios
from tests.unit.render.scenarios import TREES, Scene

PLAIN = Style(colour=False, unicode=True, width=100)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def node_of(view: TreeView, name: str) -> NodeView:
    return next(node for node in view.nodes if node.name == name)


def released(scene: Scene) -> TreeView:
    world = scene.world
    return tree_view(None, world.observe(scene.vm), None, world.now)


@pytest.mark.parametrize("name", TREES)
def test_tree(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"tree-{name}.txt", render_tree(TREES[name]().tree, PLAIN))


@pytest.mark.parametrize("unicode", [True, False])
def test_automatic_checkpoints_in_a_row_are_folded(
    unicode: bool, golden: Callable[[str, str], None]
) -> None:
    view = scenarios.automatic().tree
    name = "tree-automatic.txt" if unicode else "tree-automatic-ascii.txt"
    golden(name, render_tree(view, replace(PLAIN, unicode=unicode)))
    assert len(view.to_json()["nodes"]) == len(view.nodes) > 15  # type: ignore[arg-type]


def test_nothing_is_folded_that_there_is_anything_to_say_of() -> None:
    scene = scenarios.automatic()
    names = [node.name for node in scene.tree.nodes if node.name.automatic]
    scene.world.zfs.hold_as("backup", [scenarios.B1.snapshot(names[1])])
    scene.world.pass_time(days=31)
    text = render_tree(scene.tree, PLAIN)
    assert all(name in text for name in names)
    assert "to be DESTROYED" in text


def test_released(golden: Callable[[str, str], None]) -> None:
    golden("tree-released.txt", render_tree(released(scenarios.retired()), PLAIN))


@pytest.mark.parametrize("width", [0, 40, 80, 120])
@pytest.mark.parametrize("name", TREES)
def test_variants_say_the_same(name: str, width: int) -> None:
    view = TREES[name]().tree
    style = replace(PLAIN, width=width)
    text = render_tree(view, style)
    assert ESCAPE.sub("", render_tree(view, replace(style, colour=True))) == text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert render_tree(view, replace(style, unicode=False)).isascii()
    for node in view.nodes:
        assert str(node.name) in text


def test_variants(golden: Callable[[str, str], None]) -> None:
    view = scenarios.after_restore().tree
    variants = {
        "unicode": PLAIN,
        "ascii": replace(PLAIN, unicode=False),
        "colour": replace(PLAIN, colour=True),
        "narrow": replace(PLAIN, width=60),
        "unwrapped": replace(PLAIN, width=0),
    }
    text = "".join(f"== {name}\n{render_tree(view, style)}\n" for name, style in variants.items())
    golden("tree-variants.txt", text.replace("\x1b", "ESC"))


def test_json(golden: Callable[[str, str], None]) -> None:
    body = scenarios.waits().tree.to_json()
    golden("tree.json", json.dumps(body, indent=2) + "\n")


def test_json_is_of_plain_values() -> None:
    for make in TREES.values():
        body = make().tree.to_json()
        assert json.loads(json.dumps(body)) == body


def test_phases() -> None:
    view = scenarios.waits().tree
    phases = {str(node.name): node.phase for node in view.nodes}
    assert phases == {
        "base": Phase.PRESENT,
        "patched": Phase.PRESENT,
        "with-postgres": Phase.PRESENT,
        "later": Phase.WAITING,
        "last": Phase.WAITING,
        "other": Phase.WAITING,
    }
    assert node_of(scenarios.lost().tree, "with-postgres").phase is Phase.LOST
    assert node_of(scenarios.retired().tree, "patched").phase is Phase.RETIRED
    assert node_of(scenarios.first_capture().tree, "patched").phase is Phase.PLANNED
    assert scenarios.foreign().tree.count(Phase.FOREIGN) == 10


def test_nothing_is_planned_behind_a_closed_gate() -> None:
    assert node_of(scenarios.pool_gone().tree, "next").phase is Phase.WAITING


def test_parents_come_before_children() -> None:
    for make in TREES.values():
        seen: set[NodeName | None] = {None}
        for node in make().tree.nodes:
            assert node.parent in seen
            seen.add(node.name)


def test_position_and_unsaved() -> None:
    view = scenarios.waits().tree
    assert [node.name for node in view.nodes if node.here] == ["with-postgres"]
    text = render_tree(view, replace(PLAIN, unicode=False, width=120))
    assert "<- you are here, 412.0 MiB unsaved" in text


def test_renamed_node_is_shown_once_under_its_old_name() -> None:
    view = scenarios.rename().tree
    assert "updated" not in [node.name for node in view.nodes]
    assert node_of(view, "patched").coming == ("rename to updated",)
    assert node_of(view, "patched").desired
    assert node_of(view, "new").parent == "with-postgres"


def test_retired_node_goes_when_the_grace_is_over() -> None:
    node = node_of(scenarios.retired().tree, "patched")
    assert node.retired is not None
    assert node.goes is not None
    assert (node.goes - node.retired).total_seconds() == 24 * 3600


def test_what_could_not_be_read_is_said() -> None:
    scene = scenarios.waits()
    observation = scene.world.observe(scene.vm)
    reading = replace(observation.reading, gaps=(Gap("tank/vm/web/b-1", "I/O error"),))
    view = tree_view(scene.vm, replace(observation, reading=reading), None, scene.world.now)
    assert "Could not be read: b-1: I/O error" in render_tree(view, PLAIN)
