"""What a bhyve guest is made of, from bhyve's own words, its file or its arguments."""

from pathlib import Path

import pytest

from reconciler.drivers.guests import bhyve_definition as module
from reconciler.drivers.guests.bhyve_definition import (
    Definition,
    Device,
    command_line,
    read_definition,
    saving_way,
)
from reconciler.model.desired import Bhyve

DUMP = """cpus=2
memory.size=512M
gdb.address=localhost
gdb.port=4000
lpc.bootrom=/usr/local/share/uefi-firmware/BHYVE_UEFI.fd
lpc.com1.path=stdio
name=web
pci.0.0.0.device=hostbridge
pci.0.31.0.device=lpc
pci.0.3.0.device=virtio-blk
pci.0.3.0.path=current/disk0.img
pci.0.10.0.device=virtio-net
"""


@pytest.fixture(autouse=True)
def no_bhyve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.drivers.command.TRUSTED", ("/nowhere",))


def test_paths_of_a_configuration_are_made_absolute_and_the_name_is_last() -> None:
    assert command_line(Bhyve(config="web.conf"), "web", "/vm/web") == (
        "bhyve", "-k", "/vm/web/web.conf", "web",
    )  # fmt: skip
    assert command_line(Bhyve(args=("-c", "2")), "web", "/vm/web", "/m.ckp") == (
        "bhyve", "-r", "/m.ckp", "-c", "2", "web",
    )  # fmt: skip


def test_what_bhyve_dumps_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dict(line.split("=", 1) for line in DUMP.splitlines())
    monkeypatch.setattr(module, "_dumped", lambda *_: settings)
    assert read_definition(Bhyve(config="web.conf"), "web", "/vm/web") == Definition(
        devices=(
            Device("pci.0.0.0", "hostbridge"),
            Device("pci.0.3.0", "virtio-blk"),
            Device("pci.0.10.0", "virtio-net"),
            Device("pci.0.31.0", "lpc"),
        ),
        memory=512 << 20,
        cpus=2,
        stub=("127.0.0.1", 4000),
        bootrom=True,
        coms=("com1",),
        paths=("/usr/local/share/uefi-firmware/BHYVE_UEFI.fd", "current/disk0.img"),
    )


def test_without_bhyve_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "web.conf").write_text(f"# a comment\n\n{DUMP}ours.own=1\nmemory.size=1G\n")
    found = read_definition(Bhyve(config="web.conf"), "web", str(tmp_path))
    assert found.memory == 1 << 30
    assert len(found.devices) == 4
    assert found.stub == ("127.0.0.1", 4000)


def test_without_bhyve_the_arguments_are_read(tmp_path: Path) -> None:
    words = (
        "-AHP -c cpus=4,sockets=2 -m 1024 -s 0,hostbridge -s 3:1,virtio-blk,current/disk0.img"
        " -s 0:4:0,nvme,current/disk1.img -s31,lpc -l com1,stdio -l bootrom,/fw.fd -G w127.0.0.1:1234"
        " -o memory.wired=true -o pci.0.9.0.device=virtio-rnd"
    )
    found = read_definition(Bhyve(args=tuple(words.split())), "web", str(tmp_path))
    assert found.devices == (
        Device("pci.0.0.0", "hostbridge"),
        Device("pci.0.3.1", "virtio-blk"),
        Device("pci.0.4.0", "nvme"),
        Device("pci.0.9.0", "virtio-rnd"),
        Device("pci.0.31.0", "lpc"),
    )
    assert (found.memory, found.cpus) == (1 << 30, 4)
    assert found.stub == ("127.0.0.1", 1234)
    assert found.bootrom
    assert found.coms == ("com1",)
    assert found.paths == ("current/disk0.img", "current/disk1.img", "/fw.fd")


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ("-s 3,ahci,hd:a.img,hd:b.img,cd:c.iso", ("a.img", "b.img", "c.iso")),
        ("-s 3,ahci-hd,a.img,sectorsize=512 -s 4,ahci-cd,c.iso", ("a.img", "c.iso")),
        ("-s 3,virtio-net,tap0 -s 4,fbuf,tcp=127.0.0.1:5900", ()),
        ("-l bootrom,/fw.fd,current/vars.fd", ("/fw.fd", "current/vars.fd")),
        ("-o pci.0.3.0.path=%(place)/%(name).img -o place=%(top)/x -o top=/vm", ("/vm/x/web.img",)),
        ("-o pci.0.3.0.path=%(loop) -o loop=%(loop)", ("%(loop)",)),
        ("-o pci.0.3.0.path=%(nowhere)a.img", ("a.img",)),
    ],
)
def test_where_the_disks_are_is_read_from_every_form(
    tmp_path: Path, words: str, paths: tuple[str, ...]
) -> None:
    found = read_definition(Bhyve(args=tuple(words.split())), "web", str(tmp_path))
    assert found.paths == paths


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256", 256 << 20),
        ("268435456", 256 << 20),
        ("512M", 512 << 20),
        ("2g", 2 << 30),
        ("1T", 1 << 40),
        ("64mb", 64 << 20),
        ("", 256 << 20),
        ("much", 256 << 20),
    ],
)
def test_sizes_are_read_as_bhyve_reads_them(text: str, size: int, tmp_path: Path) -> None:
    assert read_definition(Bhyve(args=("-m", text)), "web", str(tmp_path)).memory == size


@pytest.mark.parametrize("words", ["-s x,lpc", "-s 1:2:3:4,lpc", "-Z", "-k", "-k nothing.conf", ""])
def test_nonsense_counts_as_absent(words: str, tmp_path: Path) -> None:
    found = read_definition(Bhyve(args=tuple(words.split())), "web", str(tmp_path))
    assert found == Definition(devices=(), memory=256 << 20, cpus=1)


def test_a_stub_for_the_world_is_asked_here(tmp_path: Path) -> None:
    for word, address in (
        ("4000", "127.0.0.1"),
        ("0.0.0.0:4000", "127.0.0.1"),
        ("[::1]:4000", "::1"),
    ):
        found = read_definition(Bhyve(args=("-G", word)), "web", str(tmp_path))
        assert found.stub == (address, 4000)


def test_devices_without_a_save_hook_are_named(tmp_path: Path) -> None:
    words = (
        "-s 0,hostbridge -s 3,nvme,x -s 4,virtio-9p,y -s 5,passthru,1/0/0 -l tpm,passthru,/dev/tpm0"
    )
    found = read_definition(Bhyve(args=tuple(words.split())), "web", str(tmp_path))
    assert found.without_save_hook == (
        "nvme (pci.0.3.0)",
        "virtio-9p (pci.0.4.0)",
        "passthru (pci.0.5.0)",
        "tpm",
    )


def test_the_digest_knows_devices_and_not_what_is_behind_them(tmp_path: Path) -> None:
    def digest(words: str) -> str:
        return read_definition(Bhyve(args=tuple(words.split())), "web", str(tmp_path)).digest

    assert digest("-s 3,virtio-blk,a.img") == digest("-s 0:3:0,virtio-blk,b.img,ro")
    assert digest("-s 3,virtio-blk,a.img") != digest("-s 4,virtio-blk,a.img")
    assert digest("-m 1G") != digest("-m 2G")
    assert digest("-l com1,stdio") != digest("")


def test_the_shorter_way_is_taken_where_there_is_a_stub() -> None:
    bare = Definition(devices=(), memory=1, cpus=1)
    stub = Definition(devices=(), memory=1, cpus=1, stub=("127.0.0.1", 1))
    assert saving_way("auto", bare) == "suspend"
    assert saving_way("auto", stub) == "checkpoint"
    assert saving_way("suspend", stub) == "suspend"
    assert saving_way("checkpoint", bare) == "checkpoint"
