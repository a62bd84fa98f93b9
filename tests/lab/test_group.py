"""Checkpoints of several VMs at one instant: two guests that run and one that is off, in one transaction group."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.shop import Shop


@pytest.fixture
def shop(pool: str, tmp_path: Path) -> Iterator[Shop]:
    yield from Shop.open(pool, tmp_path, files=True)


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
