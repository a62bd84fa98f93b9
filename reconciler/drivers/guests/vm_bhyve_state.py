"""Whether a guest of vm-bhyve runs, told by its processes and files: `vm list` has no form for programs.

``vm start`` leaves a shell in the background (``vm _run``) that starts bhyve again after each reset of the guest and
ends when the guest is off for good (lib/vm-run); its end is the moment from which the guest's files are quiet. Only
looks, changes nothing. Used by ckptree itself and by the keeper.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from reconciler.drivers.guests.bhyve_process import has_object, listed
from reconciler.errors import CkptreeError
from reconciler.model.observed import GuestState, Running
from reconciler.paths import RUN

_LOADERS = frozenset(["bhyveload", "grub-bhyve"])


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of one guest, each by its id, none where there is none.

    ``bhyve`` runs the guest. ``starting`` will: the loader, or a bhyve that has not got its title yet, which it sets
    when it is about to run the guest and no longer needs the files that it resumes from. ``loop`` is vm-bhyve's own.
    """

    bhyve: int | None = None
    starting: int | None = None
    loop: int | None = None

    @property
    def proof(self) -> str | None:
        """How it is known that the guest runs, or is about to; none if it is off."""
        if self.bhyve is not None:
            return f"bhyve (pid {self.bhyve})"
        if self.starting is not None:
            return f"bhyve is starting it (pid {self.starting})"
        if self.loop is not None:
            return f"vm-bhyve is starting or ending it (pid {self.loop})"
        return None


def processes(guest: str) -> Processes:
    """Find the processes of GUEST; raises CommandFailed."""
    bhyve = starting = loop = None
    for process in listed():
        words = process.title.split()
        if words[:2] == ["bhyve:", guest]:
            bhyve = process.pid
        elif _is_loop(words, guest):
            loop = process.pid
        elif _programs(words) & {"bhyve", *_LOADERS} and words[-1] == guest:
            starting = process.pid
    return Processes(bhyve, starting, loop)


def look(guest: str, directory: str) -> GuestState:
    """Tell whether GUEST, whose files are in DIRECTORY, runs. Never raises."""
    elsewhere = _locked_elsewhere(Path(directory))
    if elsewhere:
        proof = f"{directory}/run.lock says that it runs on {elsewhere} (remove that file if it does not)"
        return GuestState(Running.UNKNOWN, proof)
    try:
        found = processes(guest)
    except CkptreeError as error:
        return GuestState(Running.UNKNOWN, str(error))
    if found.proof is not None:
        return GuestState(Running.RUNNING, found.proof)
    if has_object(guest) and os.geteuid() != 0:
        proof = "the processes of other users may be hidden; run as root"
        return GuestState(Running.UNKNOWN, proof)
    if is_suspended(guest, directory):
        return GuestState(Running.OFF, "suspended by 'vm suspend'")
    return GuestState(Running.OFF)


def is_suspended(guest: str, directory: str) -> bool:
    """Whether `vm start` would resume GUEST from RAM that is not ckptree's to give."""
    save = Path(directory, f"{guest}.save")
    return os.path.lexists(save) and not is_our_save(save)


def is_our_save(path: Path) -> bool:
    """Whether PATH is a link that ckptree made to let `vm start` resume from a checkpoint's RAM."""
    return path.is_symlink() and path.readlink().parent == RUN


def _programs(words: list[str]) -> set[str]:
    """The names of the program and, where that is an interpreter with an option, of what it interprets."""
    return {os.path.basename(word) for word in words[:3]}  # noqa: PTH119 - words need not be paths


def _is_loop(words: list[str], guest: str) -> bool:
    if "_run" not in words or "vm" not in _programs(words):
        return False
    arguments = words[words.index("_run") + 1 :]
    return next((word for word in arguments if not word.startswith("-")), None) == guest


def _locked_elsewhere(directory: Path) -> str | None:
    """The host that says in ``run.lock`` that it runs the guest, if that is another one."""
    try:
        host = (directory / "run.lock").read_text(errors="replace").partition("\n")[0]
    except OSError:
        return None
    return host if host and host != socket.gethostname() else None
