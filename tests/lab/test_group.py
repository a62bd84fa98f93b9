"""Checkpoints of several VMs at one instant: two guests that run and one that is off, in one transaction group."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import killed_at
from tests.lab.live import QEMU, Live
from tests.lab.operator import Outcome

_MOST = 200


class Shop:
    """Three VMs: web and db run, files is off; without FILES only the first two."""

    def __init__(self, pool: str, folder: Path, *, files: bool) -> None:
        self.web = Live(f"{pool}/web", folder, QEMU, port=7011)
        self.db = Live(f"{pool}/db", folder, QEMU, name="db", port=7012)
        self.all: tuple[Live, ...] = (self.web, self.db)
        if files:
            self.all = (*self.all, Live(f"{pool}/files", folder, QEMU, name="files", port=7013))
        self.running = (self.web, self.db)

    def write(self, tree: str, *keys: str) -> None:
        for vm in self.all:
            vm.document_of(tree, *keys)

    def apply(self, code: int = 0) -> Outcome:
        return self.web.apply(code=code)

    def instants(self, node: str) -> set[str]:
        return {vm.get(vm.node(node), "createtxg") for vm in self.all}

    def taken(self, node: str) -> list[str]:
        return [
            vm.name
            for vm in self.all
            if any(vm.get(s, "ckptree:node") == node for s in vm.snapshots())
        ]

    def count_on(self) -> None:
        for vm in self.running:
            vm.counts(1)


@pytest.fixture
def shop(request: pytest.FixtureRequest, pool: str, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "vms"
    folder.mkdir()
    shop = Shop(pool, folder, files=request.param)
    shop.web.has_a_monitor()
    for vm in shop.all:
        vm.make()
    for vm in shop.running:
        vm.start()
    yield shop
    for vm in shop.running:
        vm.end()


@pytest.mark.parametrize("shop", [True], ids=["three"], indirect=True)
def test_a_group_is_taken_at_one_instant_and_shown_as_one(shop: Shop) -> None:
    shop.write("release: {group: r7}")
    plan = shop.web.ckptree("plan")
    assert plan.code == 2, plan.text
    assert plan.out.count("group r7") == 3, plan.out
    assert shop.web.ckptree("apply", "web").code == 3, "one VM alone waits for the others"
    assert shop.taken("release") == []
    shop.apply()
    assert len(shop.instants("release")) == 1
    for vm in shop.all:
        assert vm.get(vm.node("release"), "ckptree:group") == "r7"
        assert vm.held(vm.node("release"))
    grades = [vm.get(vm.node("release"), "ckptree:grade") for vm in shop.all]
    assert grades == ["memory", "memory", "clean"]
    assert shop.web.ckptree("tree").out.count("group r7") == 3
    shop.count_on()

    # A second apply changes nothing; a VM that comes too late is told so.
    before = [vm.everything() for vm in shop.all]
    shop.apply()
    assert [vm.everything() for vm in shop.all] == before

    # Its memory is as exact as that of any other checkpoint.
    shop.db.document_of("release: {group: r7}", "current: release", "restore: {again: 1}")
    with shop.db.another_life():
        shop.apply()
        shop.db.goes_on_from("release")

    # If one guest cannot be frozen, none is taken and all go on.
    shop.write("release: {group: r7, checkpoints: {later: {group: r8}}}")
    with shop.web.paused_by_its_operator():
        outcome = shop.web.ckptree("apply")
    assert outcome.code == 1, outcome.text
    assert "group r8: web: " in outcome.err
    assert shop.taken("later") == []
    shop.count_on()
    shop.apply()
    assert len(shop.instants("later")) == 1
    shop.count_on()


@pytest.mark.parametrize("shop", [False], ids=["two"], indirect=True)
def test_4_5_a_group_capture_killed_at_every_boundary(shop: Shop) -> None:
    nodes: list[str] = []
    for place in range(_MOST):
        nodes.append(f"n{place}")
        shop.write(_chain(nodes))
        came_so_far = killed_at(
            place, ["--vms", str(shop.web.folder), "--zfs", shop.web.write_path, "apply"]
        )
        shop.count_on()
        assert shop.taken(nodes[-1]) in ([], ["web", "db"]), f"half taken at {place}"
        shop.apply()
        assert len(shop.instants(nodes[-1])) == 1, f"killed at {place}"
        assert all(vm.live_memory() == [] for vm in shop.running), f"killed at {place}"
        if not came_so_far:
            break
    else:
        pytest.fail("the plan has no end")
    assert place > 20


def _chain(nodes: list[str]) -> str:
    text = ""
    for node in reversed(nodes):
        below = f", checkpoints: {{{text}}}" if text else ""
        text = f"{node}: {{group: g-{node}{below}}}"
    return text
