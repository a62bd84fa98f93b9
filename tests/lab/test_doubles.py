"""The doubles behave as a real bhyve was seen to behave, with a guest underneath whose memory proves itself."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doubles.checkpoint import refusal
from tests.guest.image import (
    Beat,
    assert_unbroken,
    boots,
    console,
    lines_of,
    on_disk,
    parse,
    wait_for,
    wait_for_beats,
    write_image,
)
from tests.lab.doubles import RAM, Bhyve, Switch, install_doubles, switch

Command = Callable[..., str]
_numbers = itertools.count(1)
_SECONDS = 60.0


@pytest.fixture(scope="module", autouse=True)
def _doubles() -> None:
    install_doubles()


@pytest.fixture
def home(dataset: str) -> Path:
    """Give the directory of a fresh ZFS file system."""
    return Path("/run", dataset)


@pytest.fixture
def guest(home: Path) -> Iterator[Bhyve]:
    """Give a guest with its disk in ``home``, not started."""
    made = Bhyve(f"guest{next(_numbers)}", home)
    yield made
    made.remove()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {_SECONDS} s: {what}"
        time.sleep(0.02)


def stands_still(guest: Bhyve) -> bool:
    """Tell whether the guest prints nothing for the time of several counts."""
    before = guest.console.read_bytes()
    time.sleep(0.5)
    return guest.console.read_bytes() == before


# ---- way A ---------------------------------------------------------------------------------------------------------


def test_suspend_ends_bhyve_with_5_and_the_guest_goes_on_from_the_files_with_the_next_number(
    guest: Bhyve, home: Path, command: Command
) -> None:
    saved = home / "a.ckp"
    guest.start()
    wait_for_beats(guest.console, 3)
    told = guest.control(f"--suspend={saved}")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert guest.wait() == 5
    assert not guest.object.exists()
    assert guest.socket_file.exists()
    assert saved.stat().st_size == RAM
    for name in ("a.ckp", "a.ckp.kern", "a.ckp.meta"):
        assert (home / name).stat().st_mode & 0o777 == 0o700

    meta = json.loads((home / "a.ckp.meta").read_text())
    about = meta["basic metadata"]
    assert about == {"ncpus": 1, "vmname": guest.name, "memsize": RAM, "memflags": 0}
    structs = [entry["device"] for entry in meta["kern_structs"]]
    assert structs == [
        "vhpet",
        "vm",
        "vioapic",
        "vlapic",
        "vmcx",
        "vatpit",
        "vatpic",
        "vpmtmr",
        "vrtc",
    ]
    devices = [entry["device"] for entry in meta["devices"]]
    assert devices == ["hostbridge@pci.0.0.0", "virtio-blk@pci.0.3.0", "lpc@pci.0.31.0", "atkbdc"]
    end = max(entry["file_offset"] + entry["size"] for entry in meta["devices"])
    assert (home / "a.ckp.kern").stat().st_size == end

    last = parse(console(guest.console))[-1]
    dataset = str(home).removeprefix("/run/")
    command("zfs", "snapshot", f"{dataset}@a")
    guest.start("-r", str(saved))
    wait_for_beats(guest.console, 3)
    guest.remove()
    beats = parse(console(guest.console))
    assert beats[last.count].count == last.count + 1
    assert_unbroken(beats)

    # The same files in a clone, with the disk under another path than at save time.
    command("zfs", "clone", f"{dataset}@a", f"{dataset}-clone")
    clone = Path(f"{home}-clone")
    try:
        other = Bhyve(guest.name, clone)
        before = on_disk(other.disk)
        assert before.count - last.count in (0, 1)
        other.start("-r", str(clone / "a.ckp"))
        wait_for_beats(other.console, 3)
        other.remove()
        beats = parse(console(other.console))
        assert beats[last.count] == Beat(last.count + 1, last.count + 1)
        assert_unbroken(beats)
        assert len(boots(console(other.console))) == 1
    finally:
        command("zfs", "destroy", f"{dataset}-clone")


def test_older_releases_end_a_suspend_with_0(guest: Bhyve, home: Path) -> None:
    guest.start(disk=False)
    with switch(suspend_exit=0):
        assert guest.control(f"--suspend={home}/a").returncode == 0
        assert guest.wait() == 0
    assert not guest.object.exists()


# ---- way B ---------------------------------------------------------------------------------------------------------


def test_a_debugger_holds_the_guest_through_a_checkpoint_and_a_snapshot(
    guest: Bhyve, home: Path, command: Command
) -> None:
    dataset = str(home).removeprefix("/run/")
    guest.start(stub=True)
    wait_for_beats(guest.console, 3)
    assert guest.control("--get-debug-cpus").stdout.split() == ["debug", "cpus:", "(none)"]
    with guest.attach():
        until(
            lambda: guest.control("--get-debug-cpus").stdout.split()[-1] == "0",
            "the processor is held",
        )
        assert guest.control("--get-active-cpus").stdout.split()[-1] == "0"
        assert stands_still(guest)
        with guest.attach() as second:
            assert second.recv(1) == b"", "only one connection is served"
        assert guest.control(f"--checkpoint={home}/b").returncode == 0
        guest.barrier()
        json.loads((home / "b.meta").read_text())
        assert stands_still(guest)
        held = guest.console.read_bytes()
        command("zfs", "snapshot", f"{dataset}@b")
    last = parse(lines_of(held))[-1]
    wait_for_beats(guest.console, 3)
    assert_unbroken(parse(console(guest.console)))
    assert guest.errors == "nvlist_recv() failed: Socket is not connected\n"
    assert guest.control("--force-poweroff").returncode == 0
    assert guest.wait() == 1

    command("zfs", "rollback", f"{dataset}@b")
    guest.start("-r", str(home / "b"))
    wait_for_beats(guest.console, 3)
    beats = parse(console(guest.console))
    assert beats[last.count] == Beat(last.count + 1, last.count + 1)
    assert_unbroken(beats)


def test_the_stub_needs_the_descriptions_of_processors(guest: Bhyve) -> None:
    with switch(stub_missing_xml=True):
        guest.launch(stub=True)
        assert guest.wait() == 1


# ---- saves that fail: the guest runs on, and bhyvectl has said 0 ---------------------------------------------------


def test_a_device_without_a_hook_fails_the_save_after_ram_was_written(
    guest: Bhyve, home: Path
) -> None:
    guest.start("-s", "4,nvme", disk=False)
    assert guest.control(f"--suspend={home}/d").returncode == 0
    guest.barrier()
    assert "Failed to snapshot nvme@pci.0.4.0; ret=45\n" in guest.errors
    assert guest.process is not None
    assert guest.process.poll() is None
    assert (home / "d").stat().st_size == RAM
    with pytest.raises(json.JSONDecodeError):
        json.loads((home / "d.meta").read_text())
    for device in ("virtio-console", "hda", "virtio-9p", "virtio-scsi"):
        assert refusal(f"{device}@pci.0.4.0") == 45
    for device in ("virtio-blk", "virtio-rnd", "virtio-net", "xhci", "fbuf", "lpc"):
        assert refusal(f"{device}@pci.0.4.0") == 0


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"save_fails": "kern"}, "Failed to open kernel data snapshot file."),
        ({"save_fails": "file"}, "Failed to create checkpoint file"),
        ({"save_fails": "pause"}, "Could not pause devices"),
        ({"save_fails": "ram"}, "Could not write guest memory to file"),
        ({"save_fails": "struct"}, "Failed to snapshot struct vhpet"),
        ({"no_snapshot": "kernel"}, "Failed to snapshot struct vhpet"),
        ({"save_fails": "device"}, "Failed to snapshot hostbridge@pci.0.0.0; ret=45"),
        ({"save_fails": "meta"}, "Failed to finish the metadata file"),
        ({"ahci_not_set_up": True}, "Failed to snapshot ahci-hd@pci.0.5.0; ret=14"),
    ],
)
def test_a_save_that_fails_leaves_the_guest_running(
    running: Bhyve, faults: dict[str, Switch], message: str
) -> None:
    for old in running.directory.glob("e*"):
        old.unlink()
    with switch(**faults):
        assert running.control(f"--suspend={running.directory}/e").returncode == 0
        running.barrier()
    assert message in running.errors
    wait_for_beats(running.console)
    assert_unbroken(parse(console(running.console)))
    meta = running.directory / "e.meta"
    if meta.exists():
        with pytest.raises(json.JSONDecodeError):
            json.loads(meta.read_text())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bhyve]:
    """Give a guest that goes on running from test to test."""
    made = Bhyve("running", tmp_path_factory.mktemp("running"))
    spare = made.directory / "spare.img"
    write_image(spare, 1 << 20)
    made.start("-s", f"5,ahci-hd,{spare}")
    wait_for_beats(made.console)
    yield made
    made.remove()


def test_a_save_that_went_wrong_may_look_like_one_that_did_not(
    running: Bhyve, guest: Bhyve
) -> None:
    for part, reason in (
        ("ram", "mem size mismatch"),
        ("kern", "Failed to restore kernel structs."),
        ("meta", "Failed to load guest metadata file."),
    ):
        saved = running.directory / f"f-{part}"
        with switch(save_lies=part):
            running.control(f"--checkpoint={saved}")
            running.barrier()
        guest.launch("-r", str(saved), disk=False)
        assert guest.wait() == 1
        assert reason in guest.errors


def test_a_save_may_never_finish(guest: Bhyve, home: Path) -> None:
    guest.start()
    wait_for_beats(guest.console)
    with switch(save_fails="hang"):
        assert guest.control(f"--checkpoint={home}/g").returncode == 0
        until((home / "g.meta").exists, "the save begins")
        assert stands_still(guest)
    assert guest.control("--force-poweroff").returncode == 0
    assert guest.wait() == 1


def test_a_plain_checkpoint_lets_the_guest_go_on_by_itself(running: Bhyve) -> None:
    running.control(f"--checkpoint={running.directory}/c")
    running.barrier()
    assert (running.directory / "c").stat().st_size == RAM
    wait_for_beats(running.console, 2)
    assert_unbroken(parse(console(running.console)))


def test_a_slow_save_holds_the_guest_for_its_time(running: Bhyve) -> None:
    with switch(slow_save=1.0):
        before = time.monotonic()
        running.control(f"--checkpoint={running.directory}/slow")
        running.barrier()
        assert time.monotonic() - before >= 1.0
    wait_for_beats(running.console)


# ---- restores that fail --------------------------------------------------------------------------------------------


def test_a_missing_file_is_told_in_three_lines(guest: Bhyve, home: Path) -> None:
    guest.launch("-r", str(home / "nothing"))
    assert guest.wait() == 1
    assert guest.errors.splitlines() == [
        "Failed to open restore file: No such file or directory",
        "Failed to load guest RAM file.",
        f"Failed to read checkpoint info from file: '{home}/nothing'.",
    ]


def test_what_does_not_fit_is_not_resumed(guest: Bhyve, home: Path) -> None:
    guest.start(disk=False)
    guest.control(f"--checkpoint={home}/h")
    guest.barrier()
    guest.remove()
    saved = home / "h"

    guest.launch("-s", "7,virtio-rnd", "-r", str(saved), disk=False)
    assert guest.wait() == 1
    assert "Failed to lookup dev: virtio-rnd@pci.0.7.0" in guest.errors

    for code in (1, 65):
        with switch(restore_fails=code):
            guest.launch("-r", str(saved), disk=False)
            assert guest.wait() == code

    with saved.open("r+b") as file:
        file.truncate(RAM // 2)
    guest.launch("-r", str(saved), disk=False)
    assert guest.wait() == 1
    assert "mem size mismatch" in guest.errors


# ---- the end of a guest --------------------------------------------------------------------------------------------


def test_power_off_and_reset_by_force(guest: Bhyve) -> None:
    for request, code in (("--force-poweroff", 1), ("--force-reset", 0)):
        guest.start(disk=False)
        assert guest.control(request).returncode == 0
        assert guest.wait() == code
        assert guest.object.exists()
    assert guest.control("--destroy").returncode == 0
    assert not guest.object.exists()
    guest.start(disk=False)
    guest.control("--destroy")
    assert guest.wait() == 4
    guest.start("-D", disk=False)
    guest.control("--force-poweroff")
    guest.wait()
    assert not guest.object.exists()


def test_the_power_button_is_for_the_guest_to_obey(guest: Bhyve) -> None:
    guest.start()
    wait_for_beats(guest.console)
    assert guest.process is not None
    guest.process.terminate()
    wait_for_beats(guest.console, 5)
    guest.remove()

    write_image(guest.disk, 1 << 20, obeys_power_button=True)
    guest.start()
    wait_for_beats(guest.console)
    guest.process.terminate()
    assert guest.wait() == 1
    assert console(guest.console)[-1] == "off"


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"reset_after": 0.1}, 0),
        ({"power_off_after": 0.1}, 1),
        ({"halt_after": 0.1}, 2),
        ({"triple_fault_after": 0.1}, 3),
        ({"dies_after_ready": 4}, 4),
        ({"start_fails": "no room"}, 1),
    ],
)
def test_a_guest_may_end_by_itself(guest: Bhyve, faults: dict[str, Switch], code: int) -> None:
    with switch(**faults):
        guest.launch(disk=False)
        assert guest.wait() == code


def test_a_killed_bhyve_leaves_object_and_socket_and_takes_its_guest_with_it(
    guest: Bhyve, home: Path
) -> None:
    guest.start()
    wait_for_beats(guest.console)
    assert guest.process is not None
    guest.process.send_signal(signal.SIGKILL)
    guest.wait()
    assert guest.object.exists()
    assert guest.socket_file.exists()
    told = guest.control(f"--suspend={home}/i")
    assert (told.returncode, told.stdout) == (61, "errno = 61\n")
    assert told.stderr == "connect() failed: Connection refused\n"
    until(lambda: stands_still(guest), "the guest is gone")
    assert guest.control("--destroy").returncode == 0
    told = guest.control("--destroy")
    assert (told.returncode, told.stderr) == (
        1,
        f"vm_open: {guest.name} could not be opened: No such file or directory\n",
    )


def test_the_title_is_seen_in_ps(running: Bhyve) -> None:
    assert running.process is not None
    listing = run("ps", "-axww", "-o", "pid=,command=").stdout
    title = f"{running.process.pid} bhyve: running (bhyve)"
    assert title in [line.strip() for line in listing.splitlines()]


# ---- before a start ------------------------------------------------------------------------------------------------


def test_the_configuration_is_shown_without_starting_anything(tmp_path: Path) -> None:
    file = tmp_path / "web.conf"
    file.write_text("# a guest\nname=web\npci.0.3.0.device=virtio-blk\nmine=kept\nmemory.size=1G\n")
    done = run("bhyve", "-k", str(file), "-o", "memory.size=8M", "-o", "config.dump=1")
    assert done.returncode == 1
    assert {"name=web", "mine=kept", "memory.size=8M", "pci.0.3.0.device=virtio-blk"} <= set(
        done.stdout.splitlines()
    )
    assert not Path("/dev/vmm/web").exists()


def test_a_guest_without_firmware_needs_its_loader_first() -> None:
    assert run("bhyve", "-m", "8M", "-s", "0,hostbridge", "bare").returncode == 4
    assert run("bhyvectl", "--vm=bare", "--create").returncode == 255  # bhyve has made it
    assert run("bhyvectl", "--vm=bare", "--destroy").returncode == 0
    assert run("bhyveload", "-m", "8M", "bare").returncode == 0
    process = subprocess.Popen(
        ["bhyve", "-m", "8M", "-s", "0,hostbridge", "-l", "com1,stdio", "bare"]
    )
    until(Path("/var/run/bhyve/bare").exists, "bhyve is up")
    assert run("bhyvectl", "--vm=bare", "--destroy").returncode == 0
    assert process.wait(_SECONDS) == 4


def test_what_the_host_says_about_snapshots() -> None:
    usage = run("bhyvectl")
    assert usage.returncode == 1
    assert "--suspend=" in usage.stderr
    assert "BHYVE_SNAPSHOT" in run("sysctl", "-n", "kern.conftxt").stdout
    assert run("sysctl", "-n", "kern.osreldate").stdout == "1501502\n"
    assert run("sysctl", "-n", "no.such").stderr == "sysctl: unknown oid 'no.such'\n"
    with switch(no_snapshot="both", sysctl={"hw.model": "Another"}):
        assert "--suspend=" not in run("bhyvectl").stderr
        assert "BHYVE_SNAPSHOT" not in run("sysctl", "-n", "kern.conftxt").stdout
        assert run("sysctl", "-n", "hw.model").stdout == "Another\n"
        assert run("bhyve", "-r", "/nothing", "-s", "0,hostbridge", "none").returncode == 1
    with switch(no_conftxt=True):
        assert run("sysctl", "-n", "kern.conftxt").returncode == 1


def test_without_snapshots_there_is_no_socket(guest: Bhyve, home: Path) -> None:
    with switch(no_snapshot="userland"):
        guest.start(disk=False)
        assert not guest.socket_file.exists()
    told = guest.control(f"--checkpoint={home}/j")
    assert (told.returncode, told.stdout) == (2, "errno = 2\n")


# ---- vm-bhyve ------------------------------------------------------------------------------------------------------


class VmBhyve:
    """A guest of vm-bhyve named ``web`` in the datastore DATASET."""

    def __init__(self, dataset: str, command: Command) -> None:
        self.dataset = dataset
        self.store = Path("/run", dataset)
        command("zfs", "create", f"{dataset}/web")
        self.directory = self.store / "web"
        self.console = Path("/dev/nmdm-web.1A")
        self.console.unlink(missing_ok=True)
        write_image(self.directory / "disk0.img", 1 << 20)
        (self.directory / "web.conf").write_text(
            'loader="uefi"\ncpu="1"  # one\nmemory="8M"\ndisk0_type="virtio-blk"\n'
            'disk0_name="disk0.img"\nprestart="before"\ndebug="yes"\n'
        )
        script = self.directory / "before"
        script.write_text('#!/bin/sh\necho "$1 $2 $PWD" >>launches\n')
        script.chmod(0o755)
        Path("/etc/rc.conf").write_text(f'vm_enable="YES"\nvm_dir="zfs:{dataset}"\n')
        self.vm("set", "suspend=on")

    def vm(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run("vm", *words)

    def state(self) -> str:
        rows = self.vm("list").stdout.splitlines()
        assert rows[0].split()[0] == "NAME"
        found = re.search(r"^web .* No +(.+?) +-$", "\n".join(rows), re.MULTILINE)
        assert found, rows
        return found[1]

    def has(self, name: str) -> bool:
        return (self.directory / name).exists()

    def launches(self) -> int:
        return len((self.directory / "launches").read_text().splitlines())


@pytest.fixture
def web(dataset: str, command: Command) -> Iterator[VmBhyve]:
    made = VmBhyve(dataset, command)
    yield made
    if Path("/dev/vmm/web").exists():
        made.vm("poweroff", "-f", "web")
    until(lambda: not made.has("run.lock"), "the loop has ended")


def test_vm_starts_suspends_and_resumes_and_leaves_the_saved_state_where_it_is(
    web: VmBhyve,
) -> None:
    assert web.state() == "Stopped"
    assert "booting" in web.vm("start", "web").stdout
    wait_for(web.console, lambda lines: len(parse(lines)) >= 3)
    assert web.state().startswith("Running (")
    assert web.has("run.lock")
    assert (web.directory / "launches").read_text() == f"web {web.dataset}/web {web.directory}\n"
    again = web.vm("start", "web")
    assert (again.returncode, "already" in again.stdout) == (1, True)

    assert web.vm("suspend", "web").returncode == 0
    until(lambda: web.state() == "Suspended", "it is suspended")
    until(lambda: not web.has("run.lock"), "the loop has ended")
    assert not web.has("suspending.lock")
    assert not Path("/dev/vmm/web").exists()
    assert (web.directory / "web.save").stat().st_size == 8 << 20
    last = parse(console(web.console))[-1]

    assert "resuming" in web.vm("start", "web").stdout
    wait_for_beats(web.console, 3)
    beats = parse(console(web.console))
    assert beats[last.count] == Beat(last.count + 1, last.count + 1)
    assert_unbroken(beats)
    assert web.has("web.save"), "vm-bhyve never removes it after a resume"

    # The hazard: a guest that resets itself gets its old RAM with a newer disk, and says so.
    Path("/dev/nmdm-web.1A").unlink()
    run("bhyvectl", "--vm=web", "--force-reset")
    until(lambda: web.launches() == 3, "the loop launches it again")
    until(
        lambda: web.console.exists() and b"disk bad" in web.console.read_bytes(),
        "the guest sees a disk of another time",
    )

    with switch(power_button=True):
        assert "Sending ACPI shutdown" in web.vm("stop", "web").stdout
        until(lambda: not web.has("run.lock"), "the loop has ended")
    assert not web.has("web.save"), "a stop removes it"
    assert not web.has("web.save.meta")


def test_the_loop_of_vm_restarts_on_0_and_stops_on_1(web: VmBhyve) -> None:
    web.vm("start", "web")
    wait_for(web.console, lambda lines: len(parse(lines)) >= 1)
    run("bhyvectl", "--vm=web", "--force-reset")
    wait_for(web.console, lambda lines: len(boots(lines)) == 2)
    assert web.launches() == 2
    # It may end with 1, in reality too: the loop may be quicker to destroy the object.
    web.vm("poweroff", "-f", "web")
    until(lambda: not web.has("run.lock"), "the loop has ended")
    assert web.state() == "Stopped"
    assert not Path("/dev/vmm/web").exists()
    assert web.vm("poweroff", "-f", "web").returncode == 1
    assert "exited with status 1" in (web.directory / "vm-bhyve.log").read_text()


def test_a_suspending_lock_ends_the_loop_on_every_exit_code(web: VmBhyve) -> None:
    web.vm("start", "web")
    wait_for(web.console, lambda lines: len(parse(lines)) >= 1)
    (web.directory / "suspending.lock").write_text(f"{os.uname().nodename}\n")
    with switch(suspend_exit=0):
        run("bhyvectl", "--vm=web", f"--suspend={web.directory}/elsewhere")
        until(lambda: not web.has("run.lock"), "the loop has ended")
    assert web.launches() == 1
    assert web.has("elsewhere.meta")


def test_vm_refuses(web: VmBhyve) -> None:
    web.vm("set", "suspend=off")
    told = web.vm("suspend", "web")
    assert told.returncode == 1
    assert "disabled in vm-bhyve config" in told.stderr
    web.vm("set", "suspend=on")
    with switch(no_snapshot="kernel"):
        assert "does not support suspend" in web.vm("suspend", "web").stderr
    assert "doesn't appear to be a running" in web.vm("stop", "web").stderr
    assert web.vm("start", "nobody").returncode == 1
    (web.directory / "run.lock").write_text("another-host\n")
    assert web.vm("start", "web").returncode == 1
    assert web.state() == "Locked (another-host)"
    (web.directory / "run.lock").unlink()
    assert "suspend             on" in web.vm("get", "all").stdout
