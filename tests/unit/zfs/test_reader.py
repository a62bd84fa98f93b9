"""The reader's judgement of failures: unknown is not absent."""

import stat
from pathlib import Path

import pytest

from reconciler.drivers.zfs.listing import ASKED
from reconciler.drivers.zfs.reader import CommandReader
from reconciler.errors import ObservationFailed
from reconciler.names import Dataset

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
