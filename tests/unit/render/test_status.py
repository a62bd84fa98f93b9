"""The status of VMs, against golden files and by the meaning of the three conditions."""

import json
from collections.abc import Callable
from dataclasses import replace

from reconciler.names import Dataset, VmName
from reconciler.render.status import render_status
from reconciler.render.status_view import State, StatusView, Truth, status_view
from reconciler.render.style import Style
from tests.unit.render import scenarios
from tests.unit.render.scenarios import Scene

PLAIN = Style(colour=False, unicode=True, width=120)
RELEASED = {Dataset("tank/vm/old"): "old"}


def status_of(scene: Scene) -> StatusView:
    return status_view(scene.vm, scene.world.observe(scene.vm), scene.plan)


def several() -> list[StatusView]:
    scenes = {
        "web": scenarios.nothing_to_do(),
        "shop": scenarios.waits(),
        "db": scenarios.restore_saved(),
        "mail": scenarios.approval(),
        "build": scenarios.suspended(),
        "far": scenarios.other_host(),
        "new": scenarios.not_initialised(),
    }
    return [replace(status_of(scene), vm=VmName(name)) for name, scene in scenes.items()]


def test_text(golden: Callable[[str, str], None]) -> None:
    golden("status.txt", render_status(several(), RELEASED, PLAIN))


def test_narrow(golden: Callable[[str, str], None]) -> None:
    golden(
        "status-narrow.txt",
        render_status(several(), RELEASED, replace(PLAIN, width=80, unicode=False)),
    )


def test_json(golden: Callable[[str, str], None]) -> None:
    golden("status.json", json.dumps([view.to_json() for view in several()], indent=2) + "\n")


def test_no_vms() -> None:
    assert render_status([], {}, PLAIN) == "no VMs\n"


def test_ready() -> None:
    view = status_of(scenarios.nothing_to_do())
    assert view.state is State.READY
    assert view.ready.status is Truth.TRUE
    assert view.reconciling.status is Truth.FALSE
    assert view.stalled.status is Truth.FALSE


def test_pending_changes_are_reconciling() -> None:
    view = status_of(scenarios.first_capture())
    assert view.state is State.RECONCILING
    assert view.ready.status is Truth.FALSE
    assert view.reconciling.status is Truth.TRUE


def test_a_blocked_vm_is_stalled_with_the_reason_of_the_block() -> None:
    view = status_of(scenarios.would_drop_head())
    assert view.state is State.STALLED
    assert view.stalled.reason == "WouldDropHead"
    assert view.ready.reason == "WouldDropHead"


def test_a_checkpoint_that_the_file_lets_wait_stalls_nothing() -> None:
    scene = scenarios.waits()
    patient = [node for node in scene.vm.nodes if node.name != "other"]
    view = status_of(Scene(scene.world, replace(scene.vm, nodes=tuple(patient))))
    assert view.state is State.READY
    assert "2 checkpoints that the file lets wait" in view.ready.message


def test_what_waits_for_its_hours_is_under_way_and_stalls_nothing() -> None:
    view = status_of(scenarios.outside_windows())
    assert view.state is State.RECONCILING
    assert view.reconciling.reason == view.ready.reason == "OutsideWindow"


def test_another_hosts_vm_is_unknown_here() -> None:
    view = status_of(scenarios.other_host())
    assert view.state is State.ELSEWHERE
    assert view.ready.status is Truth.UNKNOWN


def test_revision_goes_before_digest() -> None:
    scene = scenarios.nothing_to_do()
    vm = replace(scene.vm, revision="0badc0ffee0badc0ffee")
    view = status_view(vm, scene.world.observe(vm), scene.plan)
    assert "0badc0ffee0b" in render_status([view], {}, PLAIN)
