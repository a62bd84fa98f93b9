"""The reader's judgement of failures: unknown is not absent."""

import stat
import time
from pathlib import Path

import pytest

from reconciler.drivers.zfs import reader as driver
from reconciler.drivers.zfs.listing import ASKED
from reconciler.drivers.zfs.reader import CommandReader
from reconciler.errors import ObservationFailed
from reconciler.names import Dataset, Snapshot

HOME = Dataset("tank/web")
FACTS = {"type": "filesystem", "used": "0", "referenced": "0", "written": "0", "mounted": "no"}


def program(directory: Path, name: str, script: str) -> str:
    path = directory / name
    path.write_text(f'#!/bin/sh\necho "$*" >> {directory}/calls\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def reader(directory: Path, zfs: str, zpool: str = "echo tank") -> CommandReader:
    return CommandReader(
        zfs=program(directory, "zfs", zfs), zpool=program(directory, "zpool", zpool)
    )


def listed(directory: Path, name: str, **facts: str) -> str:
    """Write the listing of one dataset to a file and give the shell's words to print it."""
    values = {**FACTS, "guid": "1", "createtxg": "1", **facts}
    path = directory / name.replace("/", "_").replace("@", "_at_")
    path.write_text("".join(f"{name}\t{key}\t{values.get(key, '-')}\t-\n" for key in ASKED))
    return f"cat {path}"


def missing(name: str) -> str:
    return f"echo \"cannot open '{name}': dataset does not exist\" >&2; exit 1"


def test_what_its_parent_does_not_list_is_absent(tmp_path: Path) -> None:
    script = f'case "$1" in get) {missing("tank/web")};; list) echo tank; echo tank/other;; esac'
    reading = reader(tmp_path, script).read([HOME])[HOME]
    assert not reading.datasets
    assert not reading.gaps


def test_what_its_parent_lists_is_unknown(tmp_path: Path) -> None:
    script = f'case "$1" in get) {missing("tank/web")};; list) echo tank; echo tank/web;; esac'
    reading = reader(tmp_path, script).read([HOME])[HOME]
    assert [gap.name for gap in reading.gaps] == [HOME]


def test_any_other_failure_is_unknown(tmp_path: Path) -> None:
    script = 'case "$1" in get) echo "I/O error" >&2; exit 1;; list) echo tank;; esac'
    reading = reader(tmp_path, script).read([HOME])[HOME]
    assert "I/O error" in reading.gaps[0].reason


def test_a_missing_pool_is_absent(tmp_path: Path) -> None:
    script = f"{missing('tank')}"
    reading = reader(tmp_path, script, "echo other").read([HOME])[HOME]
    assert not reading.gaps


def test_no_zfs_at_all_raises(tmp_path: Path) -> None:
    with pytest.raises(ObservationFailed):
        reader(tmp_path, missing("tank"), "exit 1").read([HOME])
    with pytest.raises(ObservationFailed):
        reader(tmp_path, "exit 1").homes()
    with pytest.raises(ObservationFailed):
        reader(tmp_path, "exit 1").pool(HOME)


def test_one_bad_root_does_not_spoil_the_others(tmp_path: Path) -> None:
    other = Dataset("tank/other")
    show = listed(tmp_path, other)
    script = (
        f'case "$*" in list*) echo tank; echo tank/other;; '
        f'*tank/web*) echo "cannot open: dataset does not exist" >&2; exit 1;; *) {show};; esac'
    )
    readings = reader(tmp_path, script).read([HOME, other])
    assert not readings[HOME].datasets + readings[HOME].gaps
    assert [facts.name for facts in readings[other].datasets] == [other]


def test_holds_that_cannot_be_read_are_a_gap_after_a_second_try(tmp_path: Path) -> None:
    show = listed(tmp_path, "tank/web@one", type="snapshot", userrefs="1", clones="")
    script = f'case "$1" in get) {show};; holds) exit 1;; esac'
    reading = reader(tmp_path, script).read([HOME])[HOME]
    assert [gap.name for gap in reading.gaps] == ["tank/web@one"]
    assert not reading.snapshots, "a snapshot without its holds would look free to go"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["get", "holds", "get", "holds"]


def test_holds_that_do_not_add_up_are_a_gap(tmp_path: Path) -> None:
    show = listed(tmp_path, "tank/web@one", type="snapshot", userrefs="2", clones="")
    script = f"case \"$1\" in get) {show};; holds) printf 'tank/web@one\\tckptree\\tnow\\n';; esac"
    reading = reader(tmp_path, script).read([HOME])[HOME]
    assert [gap.name for gap in reading.gaps] == ["tank/web@one"]


def test_the_room_of_a_home_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    script = 'case "$*" in list*) echo tank;; *available\\ tank) echo 4096;; *) exit 1;; esac'
    facts = reader(tmp_path, script, "echo ONLINE; echo off").pool(HOME)
    assert (facts.available, facts.readonly, facts.health) == (4096, False, "ONLINE")


HUNG = [Dataset(f"hung/{name}") for name in ("a", "b", "c")]
COMMANDS = {"get", "list", "holds"}
HANGS = "exec sleep 30"
NO_ANSWER = "pool hung did not answer within 1 s"


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_TIMEOUT", 1.0)


def calls_of(directory: Path) -> list[str]:
    """Tell what each call asked for, without its options: the command and the names."""
    calls = (directory / "calls").read_text().splitlines()
    return [
        " ".join(word for word in call.split() if word in COMMANDS or "/" in word) for call in calls
    ]


@pytest.mark.usefixtures("short_limit")
def test_a_pool_that_hangs_is_a_gap_in_each_of_its_roots_and_in_no_other(tmp_path: Path) -> None:
    show = listed(tmp_path, HOME)
    script = f'case "$*" in *hung*) {HANGS};; *) {show};; esac'
    readings = reader(tmp_path, script).read([HUNG[0], HOME, *HUNG[1:]])
    assert [facts.name for facts in readings[HOME].datasets] == [HOME]
    assert not readings[HOME].gaps
    for root in HUNG:
        assert not readings[root].datasets
        assert [(gap.name, gap.reason) for gap in readings[root].gaps] == [(root, NO_ANSWER)]


@pytest.mark.usefixtures("short_limit")
def test_a_pool_that_hangs_is_asked_for_once_beside_the_others(tmp_path: Path) -> None:
    show = listed(tmp_path, HOME)
    script = f'case "$*" in *hung*) {HANGS};; *) {show};; esac'
    reader(tmp_path, script).read([HOME, *HUNG])
    together, *apart = calls_of(tmp_path)
    assert together == "get tank/web hung/a hung/b hung/c"
    assert sorted(apart) == ["get hung/a hung/b hung/c", "get tank/web"]


@pytest.mark.usefixtures("short_limit")
def test_pools_that_hang_are_waited_for_at_the_same_time(tmp_path: Path) -> None:
    homes = [Dataset(f"hung{number}/a") for number in range(6)]
    started = time.monotonic()
    readings = reader(tmp_path, HANGS).read(homes)
    assert time.monotonic() - started < 4 * 1.0
    assert all(readings[home].gaps for home in homes)


@pytest.mark.usefixtures("short_limit")
def test_the_only_pool_is_not_asked_again_when_it_hangs(tmp_path: Path) -> None:
    readings = reader(tmp_path, HANGS).read(HUNG)
    assert calls_of(tmp_path) == ["get hung/a hung/b hung/c"]
    assert all(readings[root].gaps for root in HUNG)


@pytest.mark.usefixtures("short_limit")
def test_a_pool_that_begins_to_hang_while_its_roots_are_asked_for_alone_is_given_up(
    tmp_path: Path,
) -> None:
    script = f'case "$*" in *hung/a*hung/b*) exit 1;; *hung/a*) {HANGS};; *) exit 1;; esac'
    readings = reader(tmp_path, script).read(HUNG)
    assert calls_of(tmp_path) == ["get hung/a hung/b hung/c", "get hung/a"]
    assert [readings[root].gaps[0].reason for root in HUNG] == [NO_ANSWER] * 3


@pytest.mark.usefixtures("short_limit")
def test_a_pool_that_hangs_while_its_holds_are_read_costs_no_other_pool_its_holds(
    tmp_path: Path,
) -> None:
    mine = listed(tmp_path, "tank/web@one", type="snapshot", userrefs="1", clones="")
    hung = listed(tmp_path, "hung/a@one", type="snapshot", userrefs="1", clones="")
    script = f"""case "$*" in
        get*) {hung}; {mine};;
        *hung*) {HANGS};;
        *) printf 'tank/web@one\\tckptree\\tnow\\n';;
    esac"""
    readings = reader(tmp_path, script).read([HUNG[0], HOME])
    assert [facts.holds for facts in readings[HOME].snapshots] == [{"ckptree"}]
    assert [gap.name for gap in readings[HUNG[0]].gaps] == ["hung/a@one"]
    assert calls_of(tmp_path) == ["get hung/a tank/web", "holds hung/a@one", "holds tank/web@one"]


@pytest.mark.usefixtures("short_limit")
def test_a_parent_that_cannot_be_listed_in_time_proves_nothing_and_its_own_is_not_tried(
    tmp_path: Path,
) -> None:
    deep = Dataset("hung/vms/web")
    script = f'case "$1" in get) {missing(deep)};; list) {HANGS};; esac'
    reading = reader(tmp_path, script, "echo hung").read([deep])[deep]
    assert [gap.name for gap in reading.gaps] == [deep]
    assert calls_of(tmp_path) == ["get hung/vms/web", "list hung/vms"] * 2


@pytest.mark.usefixtures("short_limit")
def test_guids_that_do_not_come_in_time_are_not_asked_for_one_by_one(tmp_path: Path) -> None:
    names = [Snapshot("hung/a@one"), Snapshot("hung/a@two")]
    with pytest.raises(ObservationFailed, match="did not end in time"):
        reader(tmp_path, HANGS).guids(names)
    assert calls_of(tmp_path) == ["get hung/a@one hung/a@two"]
