"""Checkpoints of several VMs at one instant: two guests that run and one that is off, in one transaction group."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import killed_at
from tests.lab.live import STUB, Live
from tests.lab.operator import Outcome

_MOST = 200


class Shop:
    """Three VMs: web and db run, files is off."""

    def __init__(self, pool: str, folder: Path) -> None:
        self.web = Live(f"{pool}/web", folder, STUB, port=7011)
        self.db = Live(f"{pool}/db", folder, STUB, name="db", port=7012)
        self.files = Live(f"{pool}/files", folder, STUB, name="files", port=7013)
        self.all = (self.web, self.db, self.files)
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
def shop(pool: str, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "vms"
    folder.mkdir()
    shop = Shop(pool, folder)
    for vm in shop.all:
        vm.make()
    for vm in shop.running:
        vm.start()
    yield shop
    for vm in shop.running:
        vm.end()


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

    # If one guest cannot be frozen in time, none is taken and all go on.
    shop.write("release: {group: r7, checkpoints: {later: {group: r8}}}")
    (shop.web.path / "b-1" / ".ckptree").rmdir()
    (shop.web.path / "b-1" / ".ckptree").write_text("in the way")
    outcome = shop.web.ckptree("apply")
    assert outcome.code == 1, outcome.text
    assert "group r8: web: " in outcome.err
    assert shop.taken("later") == []
    shop.count_on()
    (shop.web.path / "b-1" / ".ckptree").unlink()
    shop.apply()
    assert len(shop.instants("later")) == 1
    shop.count_on()


def test_4_5_a_group_capture_killed_at_every_boundary(shop: Shop) -> None:
    nodes: list[str] = []
    for place in range(_MOST):
        nodes.append(f"n{place}")
        shop.write(_chain(nodes))
        came_so_far = killed_at(
            place, ["--vms", str(shop.web.folder), "--zfs", shop.web.write_path, "apply"]
        )
        shop.count_on()
        assert shop.taken(nodes[-1]) in ([], ["web", "db", "files"]), f"half taken at {place}"
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
