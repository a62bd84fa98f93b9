"""vm-bhyve's loop from outside, on a pretended host: what is there at each moment decides about old RAM."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.drivers.command import Completed
from reconciler.drivers.guests import vm_bhyve_loop, vm_bhyve_state
from reconciler.drivers.guests.vm_bhyve_loop import Loop, why_not_resuming
from reconciler.drivers.guests.vm_bhyve_state import Processes
from reconciler.errors import CommandFailed, StepFailed

OFF, LOOP, RUNNING = Processes(), Processes(loop=11), Processes(loop=11, bhyve=12)


class Host:
    """A guest's directory, and what processes there are at each look; FINALLY after the last of them."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.directory = folder / "web"
        self.directory.mkdir()
        self.looks: list[Processes] = []
        self.finally_ = RUNNING
        self.commands: list[str] = []
        self.seen: list[tuple[bool, bool]] = []
        self.said: list[str] = []
        self.answer = Completed("Starting web\n  * booting...\n", "")
        self.object = False
        self.on_start: Callable[[], None] = lambda: None

    @property
    def fence(self) -> Path:
        return self.directory / "suspending.lock"

    @property
    def save(self) -> Path:
        return self.directory / "web.save"

    def look(self, guest: str) -> Processes:
        """What there is now; whether fence and RAM are there is kept."""
        assert guest == "web"
        self.seen.append((self.fence.exists(), self.save.exists()))
        return self.looks.pop(0) if self.looks else self.finally_

    def command(self, argv: list[str], *, timeout: float, codes: object = (0,)) -> Completed:
        assert timeout > 0
        assert codes
        self.commands.append(" ".join(argv))
        if argv[:2] == ["vm", "start"]:
            self.on_start()
        return self.answer

    def log(self, *lines: str) -> None:
        with (self.directory / "vm-bhyve.log").open("a") as file:
            file.writelines(f"2026-11-25T08:00:00+00:00: {line}\n" for line in lines)

    def loop(self) -> Loop:
        return Loop("web", str(self.directory), self.said.append)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    for module in (vm_bhyve_loop, vm_bhyve_state):
        monkeypatch.setattr(module, "RUN", made.run)
    monkeypatch.setattr(vm_bhyve_loop, "processes", made.look)
    monkeypatch.setattr(vm_bhyve_loop, "run", made.command)
    monkeypatch.setattr(vm_bhyve_loop, "has_object", lambda _guest: made.object)
    monkeypatch.setattr(vm_bhyve_loop, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(vm_bhyve_loop, "_SILENT_SECONDS", 0.05)
    return made


def soon() -> float:
    return time.monotonic() + 5


def later(host: Host) -> Path:
    """RAM as the keeper has renamed it."""
    memory = host.directory / "resumed.ckp"
    for suffix in ("", ".kern", ".meta"):
        Path(f"{memory}{suffix}").write_text("RAM")
    return memory


def test_a_cold_start_waits_until_bhyve_has_its_title(host: Host) -> None:
    host.looks = [OFF, LOOP, Processes(loop=11, starting=12), RUNNING]
    host.loop().start(None, soon())
    assert host.commands == ["vm start web"]
    assert host.looks == []
    assert not host.fence.exists()


def test_ram_is_reachable_only_behind_the_fence_and_only_until_bhyve_is_ready(host: Host) -> None:
    host.looks = [LOOP, RUNNING]
    memory = later(host)

    def look_at_links() -> None:
        for suffix in ("", ".kern", ".meta"):
            link = Path(f"{host.save}{suffix}")
            assert link.readlink() == host.run / f"web.save{suffix}"
            assert link.resolve() == Path(f"{memory}{suffix}")

    host.on_start = look_at_links
    host.loop().start(str(memory), soon())
    assert host.seen[:2] == [(True, True), (True, True)]
    assert host.seen[2:] == [(False, False)]
    assert list(host.run.iterdir()) == []


def test_after_a_boot_of_the_host_the_link_leads_nowhere(host: Host) -> None:
    def power_cut() -> None:
        raise KeyboardInterrupt

    host.on_start = power_cut
    loop = host.loop()
    loop._remove_links = lambda: None  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        loop.start(str(later(host)), soon())
    assert host.save.exists()
    for link in host.run.iterdir():  # what rc.d/cleanvar does
        link.unlink()
    assert not host.save.exists()
    host.on_start = lambda: None
    host.loop().start(None, soon())
    assert not os.path.lexists(host.save)


@pytest.mark.parametrize("looks", [[RUNNING, LOOP, OFF, RUNNING], [LOOP, OFF, OFF, RUNNING]])
def test_a_guest_that_resets_behind_the_fence_is_started_again_from_its_disks(
    host: Host, looks: list[Processes]
) -> None:
    host.looks = looks

    def end() -> None:
        host.log("bhyve exited with status 0", "suspended")

    host.on_start = end
    host.loop().start(str(later(host)), soon())
    assert host.commands == ["vm start web", "vm start web"]
    assert "reset itself as soon as it was resumed" in host.said[0]


def test_a_guest_that_shuts_down_behind_the_fence_stays_off(host: Host) -> None:
    host.looks = [RUNNING, OFF]
    host.on_start = lambda: host.log("bhyve exited with status 1", "suspended")
    host.loop().start(str(later(host)), soon())
    assert host.commands == ["vm start web"]


def test_what_vm_refuses_is_told_in_its_words(host: Host) -> None:
    host.answer = Completed("Starting web\n  ! guest appears to be running already\n", "", 1)
    with pytest.raises(StepFailed, match="exit code 1: guest appears to be running already"):
        host.loop().start(str(later(host)), soon())
    assert not host.fence.exists()
    assert not os.path.lexists(host.save)


@pytest.mark.parametrize("looks", [[OFF], [LOOP, OFF]])
def test_a_start_that_vm_bhyve_gives_up_is_told_from_its_log(
    host: Host, looks: list[Processes]
) -> None:
    host.log("an old line", "stopped")
    host.looks, host.finally_ = looks, OFF
    host.on_start = lambda: host.log("fatal; unable to locate firmware /x.fd")
    (host.directory / "bhyve.log").write_text("bhyve: no such disk\n")
    with pytest.raises(StepFailed) as caught:
        host.loop().start(None, soon())
    assert "did not start web: fatal; unable to locate firmware /x.fd" in str(caught.value)
    assert "old line" not in str(caught.value)


def test_a_start_of_which_nothing_is_ever_seen_fails(host: Host) -> None:
    host.finally_ = OFF
    with pytest.raises(StepFailed, match='debug="yes"'):
        host.loop().start(None, soon())


def test_a_start_that_takes_too_long_is_killed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _signal: killed.append(pid))
    host.looks = [Processes(starting=13), Processes(starting=13)]
    host.finally_ = OFF
    with pytest.raises(StepFailed, match=r"did not run in time: bhyve is starting it \(pid 13\)"):
        host.loop().start(None, time.monotonic() - 1)
    assert killed == [13]
    assert not host.fence.exists()


def test_an_object_that_a_killed_bhyve_left_is_removed_first(host: Host) -> None:
    host.object = True
    host.loop().start(None, soon())
    assert host.commands == ["bhyvectl --vm=web --destroy", "vm start web"]


def test_ram_that_somebody_else_saved_is_never_resumed_or_removed(host: Host) -> None:
    host.save.write_text("RAM")
    with pytest.raises(StepFailed, match="'vm discard web'"):
        host.loop().start(None, soon())
    assert host.commands == []
    assert host.save.read_text() == "RAM"


def test_a_vm_suspend_under_way_is_not_disturbed(host: Host) -> None:
    host.fence.write_text("thishost\n")
    with pytest.raises(StepFailed, match="'vm suspend web' is under way"), host.loop().fenced():
        pytest.fail("it is not ours")
    assert host.fence.exists()


def test_a_fence_that_was_left_behind_is_ours_to_take_down(host: Host) -> None:
    host.fence.write_text("ckptree\n")
    with host.loop().fenced():
        assert host.fence.exists()
    assert not host.fence.exists()


def left_behind(host: Host) -> None:
    """What a keeper that was killed while it resumed the guest leaves."""
    later(host)
    host.loop()._make_links(f"{host.directory}/resumed.ckp")
    host.fence.write_text("ckptree\n")


@pytest.mark.parametrize("found", [OFF, RUNNING, Processes(bhyve=12)])
def test_what_a_killed_keeper_left_is_tidied_up(host: Host, found: Processes) -> None:
    left_behind(host)
    host.finally_ = found
    host.loop().tidy()
    assert not host.fence.exists()
    assert not list(host.run.iterdir())
    assert not [path for path in host.directory.iterdir() if path.is_symlink()]
    host.seen.clear()
    host.loop().tidy()
    assert host.seen == [], "where nothing is left, no program is run"


@pytest.mark.parametrize("found", [LOOP, Processes(loop=11, starting=12)])
def test_what_vm_bhyve_is_just_starting_from_is_not_taken_away(
    host: Host, found: Processes
) -> None:
    left_behind(host)
    host.finally_ = found
    host.loop().tidy()
    assert host.fence.exists()
    assert host.save.exists()


def test_what_is_not_ours_is_not_tidied_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.finally_ = OFF
    host.fence.write_text("thishost\n")
    host.save.write_text("RAM")
    host.loop().tidy()
    assert host.fence.exists()
    assert host.save.exists()
    host.fence.write_text("ckptree\n")

    def fail(guest: str) -> Processes:
        raise CommandFailed(("ps", guest), 1, "no")

    monkeypatch.setattr(vm_bhyve_loop, "processes", fail)
    host.loop().tidy()
    assert host.fence.exists()


def test_shutting_down_and_switching_off(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.looks, host.finally_ = [RUNNING, LOOP], OFF
    host.loop().shut_down(soon())
    host.loop().power_off(soon())
    assert host.commands == ["vm stop web", "vm poweroff -f web"]
    host.finally_ = RUNNING
    with pytest.raises(StepFailed, match="it runs on"):
        host.loop().shut_down(time.monotonic())
    monkeypatch.setattr(os, "kill", lambda *_: None)
    with pytest.raises(StepFailed, match=r"cannot be killed: bhyve \(pid 12\)"):
        host.loop().power_off(time.monotonic())


@pytest.mark.parametrize(
    ("options", "shown", "why_not"),
    [
        ("options\tBHYVE_SNAPSHOT", "suspend             on", ""),
        ("options\tBHYVE_SNAPSHOT", "suspend             yes", ""),
        ("options\tBHYVE_SNAPSHOT", "suspend             -", "'vm set suspend=on'"),
        ("options\tBHYVE_SNAPSHOT", "suspend             no", "'vm set suspend=on'"),
        ("options\tBHYVE_SNAPSHOT", "", "'vm set suspend=on'"),
        ("options\tINET", "suspend             on", "kern.conftxt"),
    ],
)
def test_whether_vm_bhyve_would_resume_is_asked_as_it_asks_itself(
    monkeypatch: pytest.MonkeyPatch, options: str, shown: str, why_not: str
) -> None:
    answers = {"sysctl": options, "vm": f"SETTING             VALUE\n{shown}\n"}
    monkeypatch.setattr(vm_bhyve_loop, "run", lambda argv, **_: Completed(answers[argv[0]], ""))
    assert why_not in why_not_resuming()
    assert bool(why_not_resuming()) is bool(why_not)


def test_a_vm_bhyve_that_cannot_be_asked_resumes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str], **_: object) -> Completed:
        raise CommandFailed(tuple(argv), 1, "vm_enable is not enabled")

    monkeypatch.setattr(vm_bhyve_loop, "run", fail)
    assert "vm_enable is not enabled" in why_not_resuming()
