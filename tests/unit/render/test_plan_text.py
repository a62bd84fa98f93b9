"""Plans as people read them, against golden files."""

import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.names import VmName
from reconciler.render.plan_text import render_plan, render_plans
from reconciler.render.plan_view import plan_view, sums_text
from reconciler.render.progress import progress_line
from reconciler.render.style import Style
from tests.unit.render import scenarios
from tests.unit.render.conftest import GOLDEN
from tests.unit.render.scenarios import PLANS, TREES

PLAIN = Style(colour=False, unicode=True, width=90)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"plan-{name}.txt", render_plan(PLANS[name]().plan, PLAIN))


@pytest.mark.parametrize("width", [0, 40, 80])
@pytest.mark.parametrize("name", PLANS)
def test_no_trailing_space_and_no_line_too_wide(name: str, width: int) -> None:
    text = render_plan(PLANS[name]().plan, replace(PLAIN, width=width))
    for line in text.splitlines():
        assert line == line.rstrip()
        # A quoted piece and a single word are never broken.
        assert not width or len(line) <= width or "'" in line or width == 40
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("name", PLANS)
def test_colour_changes_nothing_but_colour(name: str) -> None:
    plan = PLANS[name]().plan
    coloured = render_plan(plan, replace(PLAIN, colour=True))
    assert ESCAPE.sub("", coloured) == render_plan(plan, PLAIN)
    assert "\x1b" in coloured


@pytest.mark.parametrize("name", PLANS)
def test_ascii_has_no_other_character(name: str) -> None:
    text = render_plan(PLANS[name]().plan, replace(PLAIN, unicode=False))
    assert text.isascii()
    assert "?" not in text or name == "annotate"


def test_variants(golden: Callable[[str, str], None]) -> None:
    plan = scenarios.restore_saved().plan
    forked = scenarios.fork().plan
    variants = {
        "unicode": PLAIN,
        "ascii": replace(PLAIN, unicode=False),
        "colour": replace(PLAIN, colour=True),
        "narrow": replace(PLAIN, width=60),
        "unwrapped": replace(PLAIN, width=0),
    }
    text = "".join(
        f"== {name}\n{render_plan(plan, style)}\n{render_plan(forked, style)}"
        for name, style in variants.items()
    )
    golden("plan-variants.txt", text.replace("\x1b", "ESC"))


def test_several(golden: Callable[[str, str], None]) -> None:
    names = ("destroy", "nothing-to-do", "would-drop-head", "other-host")
    plans = [replace(PLANS[name]().plan, vm=VmName(f"vm-{name}")) for name in names]
    golden("plans.txt", render_plans(plans, PLAIN))


def test_losses_come_before_everything_else() -> None:
    text = render_plan(scenarios.destroy().plan, PLAIN)
    assert text.index("WILL BE LOST") < text.index("! destroy")
    assert "patched" in text[: text.index("! destroy")]


def test_discarded_state_is_counted_once() -> None:
    view = plan_view(scenarios.restore_discarded().plan)
    assert [loss.size for loss in view.losses] == [412 * scenarios.MIB]


def test_saved_state_is_no_loss() -> None:
    assert plan_view(scenarios.restore_saved().plan).losses == ()


def test_approval_shows_the_exact_command() -> None:
    plan = scenarios.approval().plan
    assert plan.approval is not None
    lines = render_plan(plan, PLAIN).splitlines()
    assert lines[-1] == f"  ckptree approve web {plan.approval.digest}"


def test_sums() -> None:
    view = plan_view(scenarios.destroy().plan)
    assert "0 to capture" in sums_text(view.sums)
    assert "frees at least" in sums_text(view.sums)


def test_no_control_character_gets_through() -> None:
    text = render_plan(scenarios.annotate().plan, PLAIN)
    assert "\x1b" not in text


@pytest.mark.skipif("CKPTREE_WRITE_GOLDEN" in os.environ, reason="they are being written")
def test_no_golden_file_is_left_over() -> None:
    wanted = {f"plan-{name}.txt" for name in PLANS} | {f"tree-{name}.txt" for name in TREES}
    wanted |= {"plan-variants.txt", "plans.txt", "tree-variants.txt", "tree-released.txt"}
    wanted |= {"tree-automatic.txt", "tree-automatic-ascii.txt"}
    wanted |= {"tree.json", "status.txt", "status.json", "status-narrow.txt"}
    there = {file.name for file in GOLDEN.iterdir()}
    assert {name for name in there if not name.startswith(("merge-", "explain-"))} == wanted


def test_progress_is_one_line_with_short_names() -> None:
    for make in PLANS.values():
        plan = make().plan
        for action in plan.actions:
            line = progress_line(plan.vm, plan.home, action, PLAIN)
            assert line.startswith("web: ")
            assert "\n" not in line
            assert "tank/vm/web" not in line
