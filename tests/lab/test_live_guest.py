"""Guests that run: checkpoints of one instant with their memory, and restores that go on with the next number.

Real QEMU guests with real memory on real ZFS; those of bhyve run under its double. Each flavour of ZFS has its share
of the hypervisors: they are told apart by no more than a name there.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.live import QEMU, STUB, SUSPEND, Kind, Live, until

SHARE: dict[str, list[Kind]] = {"2.3": [QEMU], "2.1": [SUSPEND, STUB]}
KINDS = SHARE[os.environ["CKPTREE_LAB_ZFS"]]
TREE = "base:\n  checkpoints:\n    next:"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def live(request: pytest.FixtureRequest, pool: str, tmp_path: Path) -> Iterator[Live]:
    yield from Live.counting(f"{pool}/web", tmp_path, request.param)


def test_the_life_of_a_guest_and_its_checkpoints(live: Live) -> None:
    """One story, because every start of a guest is dear here."""
    # A checkpoint keeps memory and disks of one instant, and the guest goes on as if nothing had been.
    live.document_of("base:")
    if live.kind is SUSPEND:
        with live.another_life():
            live.apply()
            live.goes_on_from("base")
    else:
        live.apply()
    live.counts(3)
    base = live.node("base")
    assert live.get(base, "ckptree:grade") == "memory"
    assert live.get(base, "ckptree:memory") == ".ckptree/base.ckp"
    assert live.held(base)
    assert live.live_memory() == []

    # A restore goes back into the running state; what the guest was at is kept with its memory.
    live.document_of("base:", "current: base", "restore: {again: 1}")
    assert "memory" in live.ckptree("plan").out
    with live.another_life():
        live.apply()
        live.goes_on_from("base")
    assert live.link == "b-2"
    assert live.get("b-1", "mounted") == "no"
    (kept,) = live.automatic()
    assert live.get(live.node(kept), "ckptree:grade") == "memory"

    # And forth again, to the state that was kept.
    live.document_of("base:", f"current: {kept}")
    with live.another_life():
        live.apply()
        live.goes_on_from(kept)
    assert live.count_in(kept) > live.count_in("base")

    # A second apply changes nothing, and nothing of the memory that was resumed is left to be resumed again.
    before = live.everything()
    live.apply()
    assert live.everything() == before
    assert live.live_memory() == []

    # A guest that is off is restored and stays off; its memory waits for the start.
    live.end()
    live.document_of("base:", "current: base")
    live.apply()
    assert live.link == "b-4"
    assert not live.runs()
    with live.another_life():
        outcome = live.ckptree("start", "web")
        assert "from its memory" in outcome.out, outcome.text
        live.goes_on_from("base")

    # Every later start is cold.
    live.end()
    with live.another_life():
        assert "from its disks" in live.ckptree("start", "web").out
        until(lambda: live.booted() == 1, "it boots")


def test_a_chain_is_taken_at_one_instant_and_without_memory_where_the_file_says_so(
    live: Live,
) -> None:
    live.document_of(TREE)
    live.apply()
    assert live.count_in("base") == live.count_in("next")
    live.document_of(
        "base:\n  checkpoints:\n    next:\n      checkpoints:\n        disks: {memory: never}"
    )
    live.apply()
    assert live.get(live.node("disks"), "ckptree:grade") == "crash"
    assert live.get(live.node("disks"), "ckptree:memory") == "-"
    live.counts()


def test_a_restore_that_cannot_start_brings_the_guest_back_with_its_memory(live: Live) -> None:
    live.document_of("base:")
    live.apply()
    live.counts(1)
    live.document_of("base:", "current: base", "restore: {again: 1}")
    with live.another_life():
        live.fail_next_start()
        outcome = live.ckptree("apply")
        assert outcome.code == 1
        assert "the guest is back on" in outcome.err, outcome.text
    assert live.link == "b-1"
    assert live.runs()
    (kept,) = live.automatic()
    live.goes_on_from(kept)
    # It is not tried over and over: the guest would be stopped each time.
    outcome = live.apply(code=3)
    assert "RestoreFailed" in outcome.out
    live.counts()
    # When the file asks again, it is.
    live.document_of("base:", "current: base", "restore: {again: 2}")
    with live.another_life():
        live.apply()
        live.goes_on_from("base")


def test_a_guest_that_was_killed_is_off_and_is_not_started_again_by_itself(live: Live) -> None:
    live.document_of("base:")
    live.apply()
    subprocess.run(["pkill", "-KILL", "qemu-system"], check=True)
    until(lambda: not live.runs(), "it is seen to be off")
    live.apply()
    assert not live.runs()
    status = live.ckptree("status", "--json").out
    assert '"guest": "off"' in status
