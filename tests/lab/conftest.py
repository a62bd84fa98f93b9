"""Fixtures of the real-ZFS ring: pools on sparse files in the lab machine's memory."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# These tests make and destroy pools: never on a machine that is not a lab (script/lab).
if "CKPTREE_LAB_ZFS" not in os.environ:
    collect_ignore_glob = ["test_*.py"]

# Tests of guests take their time and say nothing about a version of ZFS: each is run on one of the two.
_ONLY_ON = {
    "test_vm_bhyve_guest.py": "2.3",
    "test_vm_bhyve_init.py": "2.3",
    "test_group.py": "2.3",
    "test_time.py": "2.3",
    "test_killed_restore.py": "2.3",
    "test_killed_capture.py": "2.1",
    "test_killed_group.py": "2.1",
    "test_doubles.py": "2.1",
    "test_daemon.py": "2.3",
    "test_hooks.py": "2.1",
    "test_repository.py": "2.3",
}
collect_ignore = [
    name for name, flavour in _ONLY_ON.items() if os.environ.get("CKPTREE_LAB_ZFS") != flavour
]

Command = Callable[..., str]

_numbers = itertools.count(1)


def _run(*arguments: str) -> str:
    """Run a command and return what it printed; an error names the command and its message."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _make_pool(directory: Path) -> Iterator[str]:
    name = f"lab{next(_numbers)}"
    disk = directory / f"{name}.img"
    with disk.open("wb") as file:
        file.truncate(4 << 30)  # sparse: takes only what is written
    _run(
        "zpool",
        "create",
        "-o",
        "cachefile=none",
        "-O",
        "atime=off",
        "-m",
        f"/run/{name}",
        name,
        str(disk),
    )
    try:
        yield name
    finally:
        _run("zpool", "destroy", "-f", name)
        disk.unlink()


@pytest.fixture
def command() -> Command:
    """Give a function that runs a command and returns its output."""
    return _run


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    """Give the name of a pool of this test alone, mounted under /run/NAME."""
    yield from _make_pool(tmp_path)


@pytest.fixture(scope="session")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the name of one pool for the whole run: see dataset."""
    yield from _make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def dataset(shared_pool: str) -> Iterator[str]:
    """Give a fresh file system in the shared pool: quicker than a pool of one's own."""
    name = f"{shared_pool}/test{next(_numbers)}"
    _run("zfs", "create", name)
    yield name
    _run("zfs", "destroy", "-R", name)
