"""What time does to checkpoints, on real ZFS: expiry with its splice, the schedule, and a person's word."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.cli import apply as applying
from tests.lab.operator import Operator, shell
from tests.lab.test_rows import new_vm

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
TREE = """
base:
  checkpoints:
    trial: {keep: 2h}
"""
ON_TRIAL = """
base:
  checkpoints:
    trial:
      keep: 2h
      checkpoints:
        patched:
"""


class Clock:
    """The clock that the command asks, set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(applying, "now", clock)
    return clock


@pytest.fixture
def operator(dataset: str, tmp_path: Path) -> Iterator[Operator]:
    """A VM with a disk image and a volume, with 'installed' on both, and no checkpoint yet."""
    yield new_vm(f"{dataset}/web", tmp_path, "command", ("disk1",))
    held = f"zfs list -H -t snapshot -o name,userrefs -r {dataset} | awk '$2 > 0 {{print $1}}'"
    shell("sh", "-c", f"{held} | xargs -r zfs release ckptree")
    shell("udevadm", "settle")


def test_a_node_whose_time_is_over_is_spliced_out_under_the_guest(
    operator: Operator, clock: Clock
) -> None:
    prune = "prune: {grace: 1h, limit: 0}"
    operator.write(TREE, prune)
    operator.apply()
    operator.guest_writes("patched")
    operator.write(ON_TRIAL, prune)
    operator.apply()
    clock.forward(hours=2)
    assert "trial" in operator.apply().text
    assert operator.get("b-1@trial", "ckptree:retired").endswith("Z")
    assert operator.held("b-1@trial")
    clock.forward(hours=1)
    assert "Expired" in operator.apply().text
    assert operator.snapshots() == {
        "b-1@base", "b-1/disk1@base", "b-1@patched", "b-1/disk1@patched",
    }  # fmt: skip
    assert operator.guest_sees() == "patched"
    clock.forward(days=9)
    assert "is gone, and is not taken again" in operator.apply().text
    assert "b-1@trial" not in operator.snapshots()


def test_automatic_checkpoints_come_and_go_and_one_of_them_can_be_gone_back_to(
    operator: Operator, clock: Clock
) -> None:
    schedule = "schedule: {every: 1h, keep: 3h}"
    operator.write("base:", schedule)
    operator.apply()
    for hour in range(1, 7):
        clock.forward(hours=1)
        operator.guest_writes(f"hour {hour}")
        operator.apply()
    clock.forward(minutes=30)
    before = operator.everything()
    operator.apply()
    assert operator.everything() == before
    autos = {f"auto-20261123T{hour}0000Z" for hour in (16, 17, 18)}
    assert operator.snapshots() == {
        f"{branch}@{name}" for name in {"base", *autos} for branch in ("b-1", "b-1/disk1")
    }
    assert all(operator.held(name) for name in operator.snapshots())
    operator.write("base:", schedule, "current: auto-20261123T160000Z")
    operator.apply()
    assert operator.guest_sees() == "hour 4"


def test_nothing_is_taken_of_a_guest_that_wrote_nothing_nor_destroyed_outside_its_hours(
    operator: Operator, clock: Clock
) -> None:
    keys = ("schedule: {every: 1h, keep: 2h}", "windows: {destroy: [{from: 22:00, until: 23:00}]}")
    operator.write("base:", *keys)
    operator.apply()
    clock.forward(hours=1)
    operator.apply()
    assert len(operator.snapshots()) == 2
    operator.guest_writes("one")
    operator.apply()
    operator.guest_writes("two")
    clock.forward(hours=2)
    assert "OutsideWindow" in operator.apply().text
    assert "b-1@auto-20261123T130000Z" in operator.snapshots()
    clock.forward(hours=7, minutes=30)
    operator.apply()
    assert "b-1@auto-20261123T130000Z" not in operator.snapshots()


def test_a_manual_node_is_taken_by_a_persons_word(operator: Operator, clock: Clock) -> None:
    operator.write("base:\n  checkpoints:\n    release: {when: manual}")
    operator.apply(code=3)
    operator.guest_writes("released")
    assert operator.ckptree("take", "web", "release").code == 0
    assert operator.get("b-1@release", "ckptree:node") == "release"
    outcome = operator.ckptree("take", "web", "release")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    clock.forward(hours=1)
    assert operator.ckptree("take", "web", "--automatic", "--keep", "5h").code == 0
    assert operator.get("b-1@auto-20261123T130000Z", "ckptree:expires") == "2026-11-23T18:00:00Z"
    assert operator.ckptree("apply").code == 0
