"""Memory files, the index that bhyve writes, the log."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.drivers.guests.bhyve_definition import Definition, Device
from reconciler.errors import CkptreeError, StepFailed
from reconciler.keeper import log as log_module
from reconciler.keeper.bhyve_files import check_files
from reconciler.keeper.log import Log
from reconciler.keeper.memory_files import consume, discard, ensure_fresh, settle
from reconciler.keeper.order import parse_order

DEFINITION = Definition(
    devices=(Device("pci.0.0.0", "hostbridge"), Device("pci.0.3.0", "virtio-blk")),
    memory=64,
    cpus=1,
)
INDEX = {
    "basic metadata": {"ncpus": 1, "vmname": "web", "memsize": 64, "memflags": 0},
    "kern_structs": [{"device": "vhpet", "size": 30, "file_offset": 0}],
    "devices": [
        {"device": "hostbridge@pci.0.0.0", "size": 0, "file_offset": 30},
        {"device": "virtio-blk@pci.0.3.0", "size": 12, "file_offset": 30},
        {"device": "atkbdc", "size": 2, "file_offset": 42},
    ],
}


@pytest.fixture
def memory(tmp_path: Path) -> str:
    path = tmp_path / "base.ckp"
    path.write_bytes(b"r" * 64)
    path.with_name("base.ckp.kern").write_bytes(b"k" * 44)
    path.with_name("base.ckp.meta").write_text(json.dumps(INDEX))
    for file in tmp_path.iterdir():
        file.chmod(0o700)
    return str(path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_files_are_accepted(memory: str) -> None:
    check_files(memory, DEFINITION)


def test_devices_are_known_by_their_address(memory: str) -> None:
    renamed = (Device("pci.0.0.0", "amd_hostbridge"), Device("pci.0.3.0", "virtio-blk"))
    check_files(memory, Definition(devices=renamed, memory=64, cpus=1))


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "did not write .*base.ckp: No such file"),
        (lambda path: path.with_name("base.ckp.kern").unlink(), "did not write .*kern"),
        (lambda path: path.with_name("base.ckp.meta").unlink(), "did not write .*meta"),
        (lambda path: os.truncate(path, 63), "has 63 bytes where the guest has 64 of RAM"),
        (lambda path: os.truncate(f"{path}.kern", 43), "kern has 43 bytes where 44 were"),
        (lambda path: os.truncate(f"{path}.meta", 200), "meta is not complete"),
        (lambda path: os.truncate(f"{path}.meta", 0), "meta is not complete"),
        (lambda path: Path(f"{path}.meta").write_text("[]"), "not what bhyve writes"),
        (lambda path: Path(f"{path}.meta").write_text("{}"), "not what bhyve writes"),
        (
            lambda path: Path(f"{path}.meta").write_text(json.dumps({**INDEX, "devices": 3})),
            "not what bhyve writes",
        ),
        (
            lambda path: Path(f"{path}.meta").write_text(
                json.dumps({**INDEX, "devices": INDEX["devices"][:1]})  # type: ignore[index]
            ),
            r"nothing of virtio-blk \(pci\.0\.3\.0\)",
        ),
    ],
)
def test_files_that_are_not_whole_are_refused(memory: str, damage: Damage, complaint: str) -> None:
    damage(Path(memory))
    with pytest.raises(StepFailed, match=complaint):
        check_files(memory, DEFINITION)


def test_consumed_files_can_be_found_by_no_other_start(memory: str, tmp_path: Path) -> None:
    Path(tmp_path, "other.ckp").touch()
    Path(tmp_path, ".resumed.ckp.kern").touch()
    assert consume(memory) == f"{tmp_path}/.resumed.ckp"
    assert names(tmp_path) == [
        ".resumed.ckp",
        ".resumed.ckp.kern",
        ".resumed.ckp.meta",
        "other.ckp",
    ]
    assert Path(tmp_path, ".resumed.ckp.kern").stat().st_size == 44
    with pytest.raises(StepFailed, match="cannot be resumed: there is no such file"):
        consume(memory)
    with pytest.raises(StepFailed, match="something has done that already"):
        consume(f"{tmp_path}/.resumed.ckp")
    discard(f"{tmp_path}/.resumed.ckp")
    assert names(tmp_path) == ["other.ckp"]


def test_a_file_beside_without_the_main_one_is_not_resumed(memory: str, tmp_path: Path) -> None:
    Path(memory).unlink()
    with pytest.raises(StepFailed):
        consume(memory)
    assert names(tmp_path) == ["base.ckp.kern", "base.ckp.meta"]


def test_settled_files_are_private(memory: str, tmp_path: Path) -> None:
    settle(memory)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_files_that_are_gone_are_discarded_without_a_word(tmp_path: Path) -> None:
    discard(f"{tmp_path}/nowhere/base.ckp")


def test_only_a_fresh_path_is_saved_to(memory: str, tmp_path: Path) -> None:
    ensure_fresh(f"{tmp_path}/new.ckp", 250)
    with pytest.raises(StepFailed, match="is there already"):
        ensure_fresh(memory, 250)
    with pytest.raises(StepFailed, match="is longer than the hypervisor can take"):
        ensure_fresh(f"{tmp_path}/new.ckp", 10)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "no text 'home'"),
        ('{"home": "vm", "socket": "/s", "log": "/l"}', "no absolute path as 'home'"),
        (
            '{"vm": "a b", "home": "/h", "socket": "/s", "log": "/l", "machine": {}}',
            "not a VM name",
        ),
        ('{"vm": "web", "home": "/h", "socket": "/s", "log": "/l"}', "no object 'machine'"),
        ('{"vm": "web", "home": "/h", "socket": "/s", "log": 3}', "something else than a text"),
    ],
)
def test_an_order_that_is_not_sound_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(CkptreeError, match=complaint):
        parse_order(line)


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_LARGEST", 1000)
    log = Log(str(tmp_path / ".ckptree" / "guest.log"))
    for number in range(200):
        log.write(f"line {number}")
    found = {path.name: path for path in (tmp_path / ".ckptree").iterdir()}
    assert set(found) == {"guest.log", "guest.log.old"}
    assert all(path.stat().st_size <= 1000 for path in found.values())
    assert found["guest.log"].read_text().endswith(" line 199\n")


def test_descriptors_follow_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_LARGEST", 100)
    log = Log(str(tmp_path / "guest.log"))
    descriptor = os.dup(0)
    try:
        log.attach((descriptor,))
        for number in range(10):
            log.write(f"line {number}")
        os.write(descriptor, b"through the descriptor\n")
    finally:
        log.attach(())
        os.close(descriptor)
    assert (tmp_path / "guest.log").read_text().endswith("through the descriptor\n")


def test_what_a_guest_writes_cannot_command_a_terminal(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "guest.log"))
    log.output("bhyve", "\x1b[2Jgone\nforged line" + "x" * 5000)
    (line,) = (tmp_path / "guest.log").read_text().splitlines()
    assert "\x1b" not in line
    assert len(line) < 2100
    assert " [bhyve] ?[2Jgone?forged" in line


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "guest.log"))
    os.close(log._file)
    log.write("lost")
    log._file = os.open(os.devnull, os.O_WRONLY)
