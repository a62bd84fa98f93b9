"""Every error that ckptree raises on purpose, and the exit codes of its commands.

An error's text is one sentence that a person can act on: what, where, what to do. Anything that is not a
CkptreeError is a bug.
"""

from enum import Enum, IntEnum

_LONGEST_COMMAND = 60  # characters of a command line in a message


class ExitCode(IntEnum):
    """Exit codes of plan, apply and the commands like them."""

    NOTHING_TO_DO = 0
    ERROR = 1
    CHANGES = 2
    BLOCKED = 3


class CkptreeError(Exception):
    """The base of all; its text is shown to the operator as it is."""


class NameInvalid(CkptreeError):
    """A name that cannot be used."""

    def __init__(self, what: str, text: str, instead: str) -> None:
        self.what = what
        self.text = text
        self.instead = instead
        super().__init__(f"{text!r} is not a {what} (write {instead})")


class CommandFailed(CkptreeError):
    """A program that ended with an error, or did not end in time."""

    def __init__(self, argv: tuple[str, ...], code: int | None, stderr: str) -> None:
        self.argv = argv
        self.code = code
        self.stderr = stderr
        ending = "did not end in time" if code is None else f"ended with exit code {code}"
        detail = f": {stderr.strip()}" if stderr.strip() else ""
        shown = " ".join(argv)
        if len(shown) > _LONGEST_COMMAND:
            shown = f"{shown[: _LONGEST_COMMAND - 3]}..."
        super().__init__(f"'{shown}' {ending}{detail}")


class ZfsErrorKind(Enum):
    """Why ZFS refused; the same kinds on every write path and in the model."""

    EXISTS = "exists"
    NOT_FOUND = "not found"
    BUSY = "busy"
    HELD = "held"
    HAS_CLONES = "has clones"
    HAS_CHILDREN = "has children"
    HAS_SNAPSHOTS = "has snapshots"
    NOT_A_CLONE = "not a clone"
    NOT_LATEST = "not the latest snapshot"
    GUID_CHANGED = "another object has this name now"
    NO_SPACE = "no space"
    PERMISSION = "no permission"
    INVALID = "invalid"
    OTHER = "refused"


class ZfsRefused(CkptreeError):
    """A ZFS operation that did not happen; nothing was changed by it unless the text says so."""

    def __init__(self, kind: ZfsErrorKind, target: str, detail: str = "") -> None:
        self.kind = kind
        self.target = target
        self.detail = detail
        super().__init__(f"{target}: {kind.value}{f' ({detail})' if detail else ''}")


class ObservationFailed(CkptreeError):
    """What exists could not be read; nothing may be concluded from it."""


class PlanStale(CkptreeError):
    """A saved plan that no longer fits what exists or what the file says."""


class PlanRefused(CkptreeError):
    """A plan that the rehearsal found to be wrong; a bug, and nothing was done."""


class StepFailed(CkptreeError):
    """A step of a plan that could not be carried out; the steps before it stand."""


class HoldLost(StepFailed):
    """A guest was no longer frozen when that was to end: what was taken of its disks may not fit its memory."""
