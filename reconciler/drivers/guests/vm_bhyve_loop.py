"""vm-bhyve's own supervision of a guest, used and fenced from outside (lib/vm-run, ``vm::run``).

``vm start`` leaves a loop in the background that starts bhyve again after each reset, and gives bhyve ``-r`` whenever
``<guest>/<guest>.save`` is there: nothing takes that file away after it was resumed, so the next reset would resume
old RAM on newer disks. Two means against it, both vm-bhyve's own:

- ``suspending.lock`` in the guest's directory is the fence: as long as it is there the loop ends with bhyve, whatever
  the exit code. It stands while bhyve resumes, and is taken down only when the ``.save`` is gone.
- ``.save`` is a link into ``paths.RUN``, which no boot of the host survives: after a power cut it leads nowhere, and
  `vm start` boots from the disks.

Used by the keeper, which alone starts a guest from RAM: whoever does must not be gone half-way.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.drivers.command import Completed, run
from reconciler.drivers.guests.bhyve_process import has_object
from reconciler.drivers.guests.vm_bhyve_conf import Conf
from reconciler.drivers.guests.vm_bhyve_state import (
    Processes,
    is_our_save,
    is_suspended,
    processes,
)
from reconciler.drivers.storage import sync_directory
from reconciler.errors import CommandFailed, StepFailed
from reconciler.model.properties import MEMORY_BESIDE
from reconciler.paths import RUN

_OURS = (
    "ckptree\n"  # in suspending.lock; `vm suspend` writes the host's name, and nothing reads either
)
_LOOK_SECONDS = 0.1  # a look is a ps(1); the title of a process is nothing that one can be told of
_SILENT_SECONDS = 10.0  # for the loop to appear after `vm start` has returned
_DESTROY_SECONDS = 30.0
_ASK_SECONDS = 20.0
_POWER_OFF_SECONDS = 20.0
_LAST_WORDS = 3
_ANY_CODE = range(256)


def why_not_resuming() -> str:
    """Why vm-bhyve would ignore RAM that it could resume, as the end of a sentence; empty if it would not.

    It wants to see BHYVE_SNAPSHOT in kern.conftxt itself (``util::check_bhyve_suspend``), and its setting is asked for
    (``vm get``: a heading, then key and value), which versions before 1.7.0 do not know.
    """
    try:
        options = run(
            ["sysctl", "-n", "kern.conftxt"], timeout=_ASK_SECONDS, codes=_ANY_CODE
        ).stdout
        shown = run(["vm", "get", "suspend"], timeout=_ASK_SECONDS).stdout.split()
    except CommandFailed as error:
        return f"vm-bhyve cannot be asked whether it resumes guests: {error}"
    if "BHYVE_SNAPSHOT" not in options:
        return "vm-bhyve resumes no guest on a kernel that does not tell of BHYVE_SNAPSHOT in kern.conftxt"
    value = shown[-1] if shown[-2:-1] == ["suspend"] else "-"
    if value != "-" and Conf(f"suspend={value}").flag("suspend"):
        return ""
    return "vm-bhyve resumes no guest unless it is told to (run 'vm set suspend=on')"


class Loop:
    """The loop of GUEST, whose files are in DIRECTORY."""

    def __init__(self, guest: str, directory: str, say: Callable[[str], None]) -> None:
        """SAY is told what a person may want to know later."""
        self._guest = guest
        self._directory = Path(directory)
        self._say = say
        self._fence = self._directory / "suspending.lock"

    def look(self) -> Processes:
        """The guest's processes at this moment; raises CommandFailed."""
        return processes(self._guest)

    def ensure_not_suspended(self) -> None:
        """Raise StepFailed if `vm start` would resume RAM that somebody else saved."""
        if is_suspended(self._guest, str(self._directory)):
            raise StepFailed(
                f"{self._guest} is suspended by 'vm suspend' (resume it with 'vm start {self._guest}', or give that"
                f" state up with 'vm discard {self._guest}')"
            )

    def clean_up(self) -> None:
        """Remove what an interrupted start or save of ours left behind; only while nothing of it is at work."""
        self._remove_links()
        self._lower_fence()

    def tidy(self) -> None:
        """Do the same for a run of ours that was killed, unless vm-bhyve is just starting the guest from it.

        Only while nobody keeps the guest. Never raises.
        """
        with suppress(CommandFailed, OSError):
            if self._is_fenced() or any(is_our_save(path) for path in self._saves()):
                found = self.look()
                if found.bhyve is not None or found.proof is None:
                    self.clean_up()

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Let the loop end with bhyve as long as this lasts. Raises StepFailed: a `vm suspend` is under way."""
        try:
            if self._fence.exists() and self._fence.read_text() != _OURS:
                raise StepFailed(
                    f"{self._fence} is there: 'vm suspend {self._guest}' is under way (remove it if it is not)"
                )
            self._fence.write_text(_OURS)
        except OSError as error:
            raise StepFailed(f"{self._fence} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            self._lower_fence()

    def start(self, memory: str | None, until: float) -> None:
        """Let vm-bhyve start the guest, from the files at MEMORY if given, and see it running; raises StepFailed.

        The files may be removed afterwards.
        """
        self.ensure_not_suspended()
        self.clean_up()
        self._remove_object()
        diary = _Diary(self._directory)
        if memory is None:
            self._start(diary, until)
            return
        with self.fenced():
            try:
                self._make_links(memory)
                self._start(diary, until)
            except StepFailed:
                if diary.exit_code() != 0:
                    raise  # else it was resumed, and has reset itself before it was seen
            finally:
                self._remove_links()
        self._follow_up(diary, until)

    def shut_down(self, until: float) -> None:
        """Ask the guest to shut down and see it off; raises StepFailed, and then it runs on."""
        self._vm("stop", self._guest, until=until)
        if not self.await_off(until):
            raise StepFailed(
                f"{self._guest} did not shut down in time after 'vm stop {self._guest}'; it runs on (stop it from"
                " inside, or stop it without asking)"
            )

    def power_off(self, until: float) -> None:
        """Switch the guest off without asking it, and see it off; raises StepFailed."""
        self._vm("poweroff", "-f", self._guest, until=until)
        if not self.await_off(min(until, time.monotonic() + _POWER_OFF_SECONDS)):
            self.kill(until)

    def kill(self, until: float) -> None:
        """Kill the guest's bhyve, so that not one more instruction runs, and see it off; raises StepFailed."""
        with self.fenced():
            found = self.look()
            for pid in (found.bhyve, found.starting):
                if pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if not self.await_off(until):
                raise StepFailed(f"{self._guest} cannot be killed: {self.look().proof}")

    def await_off(self, until: float) -> bool:
        """Wait until neither bhyve nor the loop is there any more; false if they are, UNTIL."""
        while self.look().proof is not None:
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _start(self, diary: "_Diary", until: float) -> None:
        done = self._vm("start", self._guest, until=until)
        refusals = [line.strip(" !") for line in done.stdout.splitlines() if "! " in line[:4]]
        if done.code != 0 or refusals:
            said = "; ".join([*refusals, *done.stderr.splitlines()[-1:]])
            raise StepFailed(f"'vm start {self._guest}' ended with exit code {done.code}: {said}")
        began, seen = time.monotonic(), False
        while (found := self.look()).bhyve is None:
            seen = seen or found.proof is not None
            silent = time.monotonic() - began > _SILENT_SECONDS
            if found.proof is None and (seen or silent or diary.tells_the_end()):
                raise StepFailed(f"vm-bhyve did not start {self._guest}: {diary.last_words()}")
            if time.monotonic() > until:
                self.kill(time.monotonic() + _POWER_OFF_SECONDS)
                raise StepFailed(f"{self._guest} did not run in time: {found.proof}")
            time.sleep(_LOOK_SECONDS)

    def _vm(self, *words: str, until: float) -> Completed:
        """Run vm(8), whose exit code tells little; raises StepFailed."""
        try:
            return run(["vm", *words], timeout=_left(until), codes=_ANY_CODE)
        except CommandFailed as error:
            raise StepFailed(str(error)) from error

    def _follow_up(self, diary: "_Diary", until: float) -> None:
        """Start a guest again that has reset itself while the fence still stood."""
        while True:
            found = self.look()
            if found.bhyve is not None and (found.loop is None or not self._fence.exists()):
                return
            if found.proof is None:
                break
            if time.monotonic() > until:
                raise StepFailed(f"{self._guest} was resumed and ended: {found.proof}")
            time.sleep(_LOOK_SECONDS)
        if diary.exit_code() != 0:
            return  # it has shut down, which is its own affair
        self._say(
            "the guest has reset itself as soon as it was resumed; it is started from its disks"
        )
        self._start(_Diary(self._directory), until)

    # The files

    def _make_links(self, memory: str) -> None:
        try:
            RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
            for suffix in ("", *MEMORY_BESIDE):
                name = f"{self._guest}.save{suffix}"
                (RUN / name).symlink_to(f"{memory}{suffix}")
                (self._directory / name).symlink_to(RUN / name)
        except OSError as error:
            raise StepFailed(
                f"{error.filename2 or error.filename} cannot be made: {error.strerror}"
            ) from error

    def _saves(self) -> list[Path]:
        """Where vm-bhyve looks for RAM to resume."""
        names = [f"{self._guest}.save{suffix}" for suffix in ("", *MEMORY_BESIDE)]
        return [self._directory / name for name in names]

    def _remove_links(self) -> None:
        for path in self._saves():
            with suppress(OSError):
                (RUN / path.name).unlink()
            with suppress(OSError):
                if is_our_save(path):
                    path.unlink()
        with suppress(OSError):
            sync_directory(self._directory)

    def _is_fenced(self) -> bool:
        return self._fence.exists() and self._fence.read_text() == _OURS

    def _lower_fence(self) -> None:
        with suppress(OSError):
            if self._is_fenced():
                self._fence.unlink()

    def _remove_object(self) -> None:
        """Remove the virtual machine of a bhyve that was killed: `vm start` would take the guest for running."""
        if has_object(self._guest):
            with suppress(CommandFailed):  # then `vm start` says it
                argv = ["bhyvectl", f"--vm={self._guest}", "--destroy"]
                run(argv, timeout=_DESTROY_SECONDS)


class _Diary:
    """What vm-bhyve writes about a guest from now on: ``vm-bhyve.log``, and bhyve's own words if debug=yes."""

    def __init__(self, directory: Path) -> None:
        paths = (directory / "vm-bhyve.log", directory / "bhyve.log")
        self._paths = {path: _size(path) for path in paths}

    def tells_the_end(self) -> bool:
        """Whether vm-bhyve has written that it gave up."""
        return any("fatal" in line or line.endswith(" stopped") for line in self._lines())

    def exit_code(self) -> int | None:
        """The exit code of the last bhyve."""
        codes = [line.rpartition(" ")[2] for line in self._lines() if "exited with status" in line]
        return int(codes[-1]) if codes and codes[-1].isdecimal() else None

    def last_words(self) -> str:
        """The last of it in one line."""
        said = "; ".join(line.partition(": ")[2] or line for line in self._lines()[-_LAST_WORDS:])
        return (
            said or "it said nothing (set debug=\"yes\" in the guest's conf for bhyve's own words)"
        )

    def _lines(self) -> list[str]:
        found: list[str] = []
        for path, before in self._paths.items():
            with suppress(OSError), path.open("rb") as file:
                file.seek(before if before <= os.fstat(file.fileno()).st_size else 0)
                found += file.read().decode("utf-8", "replace").splitlines()
        return [line.strip() for line in found if line.strip()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.1)
