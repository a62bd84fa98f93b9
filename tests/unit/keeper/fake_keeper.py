"""The real keeper with a guest made of files in the home: run as a program in the place of ``reconciler.keeper``.

``on`` is there as long as the guest runs; ``verbs`` has one line for each thing that was done to it. A file named
like a verb makes it fail (with the text in it), ``lost-VERB`` as a hold that was lost, ``slow-VERB`` makes it take that
many seconds.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from reconciler.errors import HoldLost, StepFailed
from reconciler.keeper import __main__ as keeper
from reconciler.keeper import server
from reconciler.keeper.log import Log
from reconciler.keeper.machine import Machine, Words
from reconciler.keeper.memory_files import settle
from reconciler.keeper.order import Order, text


class FakeMachine:
    """A guest whose memory is the text in ``on``."""

    def __init__(self, home: Path, log: Words) -> None:
        self._home = home
        self._log = log

    @classmethod
    def from_order(cls, order: Mapping[str, object], log: Words) -> Self:
        return cls(Path(text(order, "home")), log)

    def running(self) -> str | None:
        if (self._home / "bug-running").exists():
            raise ZeroDivisionError("a bug")
        return "the file is there" if (self._home / "on").exists() else None

    def topology(self) -> str:
        return "made of files"

    def start(self, memory: str | None, seconds: float) -> None:  # noqa: ARG002
        self._note("start", f"from {Path(memory).name}" if memory else "")
        (self._home / "on").write_text(Path(memory).read_text() if memory else "fresh")

    def save(self, memory: str, seconds: float) -> None:  # noqa: ARG002
        self._note("save")
        Path(memory).write_text((self._home / "on").read_text())
        settle(memory)

    def release(self, seconds: float) -> None:  # noqa: ARG002
        self._note("release")

    def end(self, seconds: float) -> None:  # noqa: ARG002
        self._note("end")
        (self._home / "on").unlink(missing_ok=True)
        self._log.write("switched off on request")

    def shut_down(self, seconds: float) -> None:  # noqa: ARG002
        self._note("shut_down")
        (self._home / "on").unlink(missing_ok=True)

    def _note(self, verb: str, more: str = "") -> None:
        with (self._home / "verbs").open("a") as file:
            file.write(f"{verb} {more}".strip() + "\n")
        slow, broken = self._home / f"slow-{verb}", self._home / verb
        if slow.exists():
            time.sleep(float(slow.read_text()))
        if (self._home / f"bug-{verb}").exists():
            raise ZeroDivisionError("a bug")
        if (self._home / f"lost-{verb}").exists():
            raise HoldLost("it went on before")
        if broken.exists():
            raise StepFailed(broken.read_text())


def _fake(order: Order, log: Log) -> Machine:
    return FakeMachine.from_order(order.whole, log)


if __name__ == "__main__":
    keeper.make_machine = _fake
    keeper._LOCK_SECONDS = 2.0
    server.LOOK_SECONDS = 0.1
    sys.exit(keeper.main())
