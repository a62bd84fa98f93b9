"""Who has a branch or a volume open, as this machine's processes show it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.drivers import users as module
from reconciler.drivers.command import Completed
from reconciler.drivers.users import OpenFiles, find_users
from reconciler.model.observed import GuestState, Running


@contextmanager
def process(*argv: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    guest = subprocess.Popen(argv, **options)  # type: ignore[call-overload]
    try:
        yield guest
    finally:
        guest.kill()
        guest.wait()


def test_where_nothing_is_mounted_nobody_is_at_work() -> None:
    assert find_users([], []) == GuestState(Running.OFF)


def test_a_process_with_a_file_open_is_found_and_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk0.img"
    disk.touch()
    with disk.open() as file, process("sleep", "60", stdin=file) as guest:
        # The whole file system of the test counts as the branch: others may use it too.
        found = {one.path: one for one in module._opened_by(Path("/proc", str(guest.pid)))}
        files = OpenFiles()
        files._found = ([found[str(disk)]], False)
        state = find_users([tmp_path], [], files)
    assert state.running is Running.RUNNING
    # It has our own name until it has become the program.
    assert state.proof.endswith(f" (pid {guest.pid}) has {disk} open")


def test_a_process_in_a_folder_of_the_branch_uses_it(tmp_path: Path) -> None:
    with process("sleep", "60", cwd=tmp_path) as guest:
        found = {one.path: one for one in module._opened_by(Path("/proc", str(guest.pid)))}
    assert found[str(tmp_path)].device == tmp_path.stat().st_dev


def test_what_is_open_is_looked_at_once_for_many(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks: list[int] = []

    def look() -> tuple[list[object], bool]:
        looks.append(1)
        return [], False

    monkeypatch.setattr(module, "_look_into_proc", look)
    files = OpenFiles()
    for _ in range(3):
        assert find_users([tmp_path], [], files).running is Running.OFF
    assert len(looks) == 1
    find_users([tmp_path], [])
    assert len(looks) == 2, "who decides about one looks anew"


def test_elsewhere_fuser_is_asked_and_its_numbers_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def fuser(argv: list[str], *, timeout: float) -> Completed:  # noqa: ARG001
        asked.append(argv)
        return Completed(" 4711 4712\n", f"{tmp_path}: wc\n")

    monkeypatch.setattr(module, "run", fuser)
    monkeypatch.setattr(sys, "platform", "freebsd15")
    state = find_users([tmp_path], [])
    assert asked == [["fuser", "-c", str(tmp_path)]]
    assert state.running is Running.RUNNING
    assert "pid 4711" in state.proof
