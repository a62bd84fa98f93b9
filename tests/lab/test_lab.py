"""The lab itself: what every other test of this ring takes for granted."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., str]
PROGRAM = b"""
args = ...
local first = zfs.list.snapshots(args["argv"]["dataset"])()
return {name = first, id = (zfs.get_prop(first, "ckptree:id"))}
"""


def test_the_flavour_is_the_one_asked_for(command: Command) -> None:
    asked = os.environ["CKPTREE_LAB_ZFS"]
    userland, kernel = command("zfs", "version").split()
    assert userland.startswith(f"zfs-{asked}.")
    assert kernel.startswith(f"zfs-kmod-{asked}.")
    assert importlib.metadata.version("pyzfs").startswith(f"{asked}.")


def test_pyzfs_makes_a_snapshot_and_runs_a_channel_program(dataset: str) -> None:
    zfs_core = importlib.import_module("libzfs_core")  # on other machines there may be none
    name = dataset.encode()
    pool = name.split(b"/")[0]
    zfs_core.lzc_snapshot([name + b"@one"], {b"ckptree:id": b"k-1"})
    assert zfs_core.lzc_exists(name + b"@one")
    result = zfs_core.lzc_channel_program(pool, PROGRAM, params={b"dataset": name})
    assert result == {b"name": name + b"@one", b"id": b"k-1"}


def test_a_volume_appears_under_dev_zvol_and_keeps_what_is_written(
    dataset: str, command: Command
) -> None:
    command("zfs", "create", "-V", "16M", f"{dataset}/disk")
    link = Path("/dev/zvol", dataset, "disk")
    command("udevadm", "settle")
    assert link.is_block_device()
    with link.open("r+b") as file:
        file.write(b"hello".ljust(4096, b"."))
        os.fsync(file.fileno())
    command("zfs", "snapshot", f"{dataset}/disk@one")
    command("zfs", "clone", f"{dataset}/disk@one", f"{dataset}/copy")
    command("udevadm", "settle")
    assert Path("/dev/zvol", dataset, "copy").read_bytes()[:5] == b"hello"
    command("zfs", "rename", f"{dataset}/copy", f"{dataset}/other")
    command("udevadm", "settle")
    assert Path("/dev/zvol", dataset, "other").is_block_device()
    assert not Path("/dev/zvol", dataset, "copy").exists()


def test_a_file_system_is_mounted_and_unmounted(pool: str, command: Command) -> None:
    command("zfs", "create", f"{pool}/files")
    place = Path(command("zfs", "get", "-Hpo", "value", "mountpoint", f"{pool}/files").strip())
    assert place.is_mount()
    (place / "note").write_text("kept")
    command("zfs", "unmount", f"{pool}/files")
    assert not place.is_mount()
    assert not (place / "note").exists()
    command("zfs", "mount", f"{pool}/files")
    assert (place / "note").read_text() == "kept"


def test_others_than_root_can_read_pools(pool: str, command: Command) -> None:
    listing = command("setpriv", "--reuid", "65534", "--clear-groups", "zfs", "list", "-Ho", "name")
    assert pool in listing.split()


@pytest.mark.parametrize("directory", ["/tmp", "/var/tmp", "/run", "/root", "/dev/shm"])  # noqa: S108
def test_scratch_places_are_writable(directory: str) -> None:
    place = Path(directory, "ckptree-lab-was-here")
    place.write_text("")
    place.unlink()


def test_the_machine_is_an_ordinary_one(command: Command) -> None:
    assert socket.gethostname() == f"lab-{os.environ['CKPTREE_LAB_ZFS']}"
    assert time.time() > Path(__file__).stat().st_mtime - 60
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=10).close()
    assert command("qemu-system-x86_64", "--version").startswith("QEMU")
    assert command("sh", "-c", "command -v ckptree").endswith("/.venv/bin/ckptree\n")
