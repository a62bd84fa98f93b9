"""A guest of vm-bhyve that `ckptree init` took over: frozen, resumed, stopped, and never resumed twice."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.drivers.guests.choose import guest_of
from reconciler.drivers.guests.vm_bhyve import VmBhyveGuest
from reconciler.drivers.guests.vm_bhyve_state import processes
from reconciler.errors import StepFailed
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Running
from reconciler.paths import RUN
from reconciler.spec.load import load_path
from tests.guest.image import Beat, assert_unbroken, boots, console, parse, wait_for, write_image
from tests.lab.doubles import install_doubles, switch
from tests.lab.operator import Operator, shell

CONF = """loader="uefi"
cpu="1"
memory="8M"
disk0_type="virtio-blk"
disk0_name="disk0.img"
uefi_vars="yes"
debug="yes"
"""
_SECONDS = 60.0


class Web:
    """The guest, as its operator and the tests see it; ``init`` is what made it one of ckptree's."""

    def __init__(self, dataset: str, folder: Path) -> None:
        install_doubles()
        self.operator = Operator(f"{dataset}/web", folder, "auto", ())
        self.operator.write("", "hypervisor: {vm-bhyve: {}}")
        self.home = self.operator.path
        self.console = Path("/dev/nmdm-web.1A")
        shell("zfs", "create", "-p", self.operator.home)
        write_image(self.home / "disk0.img", 1 << 20)
        (self.home / "web.conf").write_text(CONF)
        Path("/etc/rc.conf").write_text(f'vm_enable="YES"\nvm_dir="zfs:{dataset}"\n')
        shell("vm", "set", "suspend=on")
        outcome = self.operator.ckptree("init", "web")
        assert outcome.code == 0, outcome.text
        self.conf = (self.home / "web.conf").read_text()

    def reset(self) -> None:
        """Make the guest as it was: off, with an empty disk."""
        if Path("/dev/vmm/web").exists():
            subprocess.run(["vm", "poweroff", "-f", "web"], capture_output=True, check=False)
        until(lambda: processes("web").proof is None, "the loop has ended")
        until(lambda: not (RUN / "web.sock").exists(), "the keeper has ended")
        left = [
            *self.home.glob("web.save*"),
            *self.home.glob("*.lock"),
            *self.memory.parent.iterdir(),
        ]
        for path in left:
            path.unlink()
        write_image(self.home / "current" / "disk0.img", 1 << 20, obeys_power_button=True)
        self.console.unlink(missing_ok=True)
        self.configure("")

    def configure(self, more: str) -> None:
        """Give the guest MORE than its conf has."""
        (self.home / "web.conf").write_text(self.conf + more)

    @property
    def desired(self) -> DesiredVm:
        (desired,) = load_path(self.operator.document).vms
        return desired

    @property
    def guest(self) -> VmBhyveGuest:
        """The driver, as new as it is in a new run of ckptree."""
        found = guest_of(self.desired, str(self.home))
        assert isinstance(found, VmBhyveGuest)
        return found

    @property
    def memory(self) -> Path:
        """Where RAM goes in the current branch."""
        folder = self.home / "current" / ".ckptree"
        folder = folder.parent.resolve() / folder.name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / "node.ckp"

    def started(self) -> None:
        shell("vm", "start", "web")
        self.counts(2)

    def beats(self) -> list[Beat]:
        return parse(console(self.console))

    def counts(self, more: int = 3) -> None:
        """See the guest count on, in one life."""
        before = len(self.beats())
        wait_for(self.console, lambda lines: len(parse(lines)) >= before + more)

    def boots(self) -> int:
        return len(boots(console(self.console)))

    def is_clean(self) -> bool:
        """Nothing is left by which vm-bhyve would resume old RAM or not restart the guest."""
        left = [path.name for path in self.home.iterdir() if path.name.startswith("web.save")]
        left += [path.name for path in RUN.iterdir() if path.name.startswith("web.save")]
        return not left and not (self.home / "suspending.lock").exists()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {_SECONDS} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(shared_pool: str, tmp_path_factory: pytest.TempPathFactory) -> Web:
    """The guest's home, for all tests here: an `init` takes its time in the lab."""
    return Web(f"{shared_pool}/vm", tmp_path_factory.mktemp("documents"))


@pytest.fixture
def web(site: Web) -> Iterator[Web]:
    """The guest, off."""
    site.reset()
    yield site
    site.reset()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("way", ["suspend", "checkpoint"])
def test_a_frozen_guest_goes_on_with_the_next_number_and_later_resets_are_cold(
    web: Web, way: str
) -> None:
    if way == "checkpoint":
        web.configure(f'bhyve_options="-G 127.0.0.1:{free_port()}"\n')
    web.started()
    ability = web.guest.probe()
    assert (ability.managed, ability.memory, ability.why_not) == (True, True, "")
    assert ability.ram == 8 << 20
    with web.guest.frozen(str(web.memory)):
        assert web.memory.stat().st_size == 8 << 20
        assert web.memory.stat().st_mode & 0o777 == 0o600
        assert not (web.home / "web.save").exists()
        frozen_at = len(web.beats())
        shell("zfs", "snapshot", f"{web.operator.home}/b-1@{way}")
        state = web.guest.state()
        assert state.running is Running.RUNNING, state
    web.counts()
    assert_unbroken(web.beats())
    assert web.boots() == 1
    assert len(web.beats()) > frozen_at
    assert web.is_clean()
    assert web.guest.state().running is Running.RUNNING
    shell("bhyvectl", "--vm=web", "--force-reset")
    until(lambda: web.boots() == 2, "it boots again")
    web.counts()


def test_a_guest_that_was_ended_is_resumed_once_from_its_memory(web: Web) -> None:
    web.started()
    memory = web.memory
    with web.guest.frozen(str(memory)) as hold:
        hold.end()
    assert web.guest.state().running is Running.OFF
    last = len(web.beats())
    web.guest.start(str(memory))
    assert web.guest.state().running is Running.RUNNING
    assert list(memory.parent.iterdir()) == []
    web.counts()
    assert_unbroken(web.beats())
    assert web.beats()[last].count == web.beats()[last - 1].count + 1
    assert web.is_clean()
    web.guest.stop(now=False)
    assert console(web.console)[-1] == "off"
    with pytest.raises(StepFailed, match="cannot be resumed"):
        web.guest.start(str(memory))
    web.guest.start()
    until(lambda: web.boots() == 2, "it boots")


def test_a_guest_held_by_its_stub_can_be_ended_without_one_more_instruction(web: Web) -> None:
    web.configure(f'bhyve_options="-G 127.0.0.1:{free_port()}"\n')
    web.started()
    memory = web.memory
    with web.guest.frozen(str(memory)) as hold:
        last = web.beats()[-1]
        hold.end()
    assert web.guest.state().running is Running.OFF
    assert not Path("/dev/vmm/web").exists()
    web.guest.start(str(memory))
    web.counts()
    assert_unbroken(web.beats())
    assert web.beats()[-1].count > last.count
    assert web.boots() == 1


def test_a_guest_whose_ckptree_is_killed_while_it_is_frozen_goes_on(web: Web) -> None:
    web.started()
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from reconciler.drivers.guests.choose import guest_of\n"
        "from reconciler.spec.load import load_path\n"
        "(desired,) = load_path(Path(sys.argv[1])).vms\n"
        "with guest_of(desired, sys.argv[2]).frozen(sys.argv[3]):\n"
        "    print('frozen', flush=True)\n"
        "    time.sleep(600)\n"
    )
    words = [sys.executable, "-c", script, str(web.operator.document), str(web.home)]
    words.append(str(web.memory))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as ckptree:
        assert ckptree.stdout is not None
        assert ckptree.stdout.readline() == b"frozen\n"
        ckptree.kill()
    web.counts()
    assert_unbroken(web.beats())
    assert web.boots() == 1
    until(web.is_clean, "nothing is left")


@pytest.mark.parametrize("trouble", ["file", "device"])
def test_a_save_that_fails_leaves_the_guest_running_and_its_loop_unfenced(
    web: Web, trouble: str
) -> None:
    web.started()
    with switch(save_fails=trouble), pytest.raises(StepFailed, match="which runs on"):  # noqa: SIM117
        with web.guest.frozen(str(web.memory)):
            pytest.fail("it is not frozen")
    web.counts()
    assert_unbroken(web.beats())
    assert web.is_clean()
    assert list(web.memory.parent.iterdir()) == []
    shell("bhyvectl", "--vm=web", "--force-reset")
    until(lambda: web.boots() == 2, "the loop starts it again")


@pytest.mark.parametrize("lie", ["ram", "meta"])
def test_files_that_are_not_whole_cost_the_memory_and_not_the_guest(web: Web, lie: str) -> None:
    web.started()
    with switch(save_lies=lie), pytest.raises(StepFailed, match="was not saved"):  # noqa: SIM117
        with web.guest.frozen(str(web.memory)):
            pytest.fail("it is not frozen")
    until(lambda: web.boots() == 2, "it is started from its disks")
    web.counts()
    assert web.is_clean()


def test_an_older_bhyve_that_ends_with_0_is_not_started_again_by_the_loop(web: Web) -> None:
    web.started()
    with switch(suspend_exit=0), web.guest.frozen(str(web.memory)):
        time.sleep(0.5)
        assert not (web.home / "run.lock").exists()
    web.counts()
    assert_unbroken(web.beats())
    assert web.boots() == 1


def test_a_resume_that_fails_starts_the_guest_from_its_disks_and_says_so(web: Web) -> None:
    web.started()
    with pytest.raises(StepFailed, match="started from its disks instead"):  # noqa: SIM117
        with switch(restore_fails=1), web.guest.frozen(str(web.memory)):
            pass
    until(lambda: web.boots() == 2, "it is started from its disks")
    web.counts()
    assert web.is_clean()


def test_a_guest_that_resets_itself_the_moment_it_is_resumed_is_started_from_its_disks(
    web: Web,
) -> None:
    web.started()
    memory = web.memory
    with web.guest.frozen(str(memory)) as hold:
        hold.end()
    log = web.home / "vm-bhyve.log"
    before = log.read_text().count("exited with status 0")
    with switch(dies_after_ready=0):
        starting = threading.Thread(target=lambda: web.guest.start(str(memory)))
        starting.start()
        until(lambda: log.read_text().count("exited with status 0") > before, "it resets itself")
    starting.join()
    until(lambda: web.boots() == 2, "it boots")
    assert web.guest.state().running is Running.RUNNING
    assert web.is_clean()


def test_a_guest_that_somebody_suspended_is_off_and_not_ours_to_start(web: Web) -> None:
    web.started()
    shell("vm", "suspend", "web")
    until(lambda: not (web.home / "run.lock").exists(), "the loop has ended")
    state = web.guest.state()
    assert (state.running, state.proof) == (Running.OFF, "suspended by 'vm suspend'")
    with pytest.raises(StepFailed, match="'vm discard web'"):
        web.guest.start()
    assert (web.home / "web.save").exists()
    shell("vm", "discard", "-f", "web")
    web.guest.start()
    web.counts()


def test_stopping(web: Web) -> None:
    web.guest.stop(now=False)
    web.started()
    web.guest.stop(now=True)
    assert web.guest.state().running is Running.OFF
    assert not (web.home / "run.lock").exists()
    web.guest.start()
    web.counts(1)
    web.guest.stop(now=False)
    assert web.guest.state().running is Running.OFF


def test_a_killed_bhyve_leaves_a_guest_that_can_be_started(web: Web) -> None:
    web.started()
    listing = shell("ps", "-axww", "-o", "pid=,command=").splitlines()
    for line in listing:
        pid, _, words = line.strip().partition(" ")
        if words.strip() == "bhyve: web (bhyve)" or words.endswith("vm _run web"):
            os.kill(int(pid), signal.SIGKILL)
    until(lambda: web.guest.state().running is Running.OFF, "it is off")
    assert (web.home / "run.lock").exists()
    assert Path("/dev/vmm/web").exists()
    web.guest.start()
    web.counts()


def test_what_cannot_be_done_is_told_by_name(web: Web) -> None:
    web.configure('disk1_type="nvme"\ndisk1_name="/dev/null"\ndisk1_dev="custom"\n')
    assert "bhyve cannot save nvme (disk1)" in web.guest.probe().why_not
    web.configure('sound="yes"\nvirt_console0="yes"\npassthru0="1/0/0"\n')
    assert "hda (sound), passthru (passthru0), virtio-console (virt_console0)" in (
        web.guest.probe().why_not
    )
    web.configure("")
    shell("vm", "set", "suspend=off")
    assert "'vm set suspend=on'" in web.guest.probe().why_not
    shell("vm", "set", "suspend=on")
    web.started()
    web.configure('virt_random="yes"\n')
    assert "was changed after the guest was started" in web.guest.probe().why_not
    (web.home / "web.conf").unlink()
    assert "by which vm-bhyve finds the guest" in web.guest.probe().why_not
    web.configure("")
