"""`ckptree run` as a process of its own, as rc(8) or systemd would run it, and a way to wait for what it does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler import paths
from reconciler.daemon.client import ask

SECONDS = 240.0
"""Everything is emulated here."""


def wait_for(
    true: Callable[[], bool], what: str, seconds: float = SECONDS, every: float = 0.1
) -> None:
    """Wait until TRUE says so; WHAT is told if it never does."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(every)


class Daemon:
    """The daemon of this host with documents in FOLDER, and SETTINGS in YAML besides."""

    def __init__(self, folder: Path, write_path: str, settings: str = "interval: 1h\n") -> None:
        self.folder = folder
        self.config = folder.parent / "ckptree.yaml"
        self.log = folder.parent / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.write_path = write_path
        self.set_up(settings)

    def set_up(self, settings: str, documents: bool = True) -> None:
        """Write the host's settings."""
        place = f"vms: {self.folder}\n" if documents else ""
        fresh = self.config.with_name("fresh")
        fresh.write_text(f"{place}zfs: {self.write_path}\nnotify: {{syslog: none}}\n{settings}")
        fresh.replace(self.config)

    def start(self) -> None:
        """Start it, and wait until it has looked at everything once."""
        self.launch()
        self.wait_until(self._has_looked, "the daemon does not look", every=0.5)

    def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "--config", str(self.config), "run"],
                stdout=log,
                stderr=log,
                env={key: value for key, value in os.environ.items() if key != "CKPTREE_VMS"},
            )

    def _has_looked(self) -> bool:
        answer = ask("/status.json", paths.SOCKET, patience=60.0)
        return answer is not None and json.loads(answer)["daemon"]["passes"] > 0

    def said(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text()

    def wait_until(self, true: Callable[[], bool], what: str, every: float = 0.1) -> None:
        """Wait until TRUE, asked EVERY so many seconds, says so, as long as the daemon lives."""

        def now() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the daemon has ended:\n{self.said()}"
            return true()

        try:
            wait_for(now, what, every=every)
        except AssertionError as error:
            raise AssertionError(f"{error}; the daemon said:\n{self.said()}") from error

    def status(self) -> Any:  # noqa: ANN401 - JSON
        """What its socket tells."""
        answer = ask("/status.json", paths.SOCKET, patience=60.0)
        assert answer is not None, "the daemon does not answer"
        return json.loads(answer)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Have it end as a supervisor would, and give its exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(SECONDS)
        self.process = None
        assert not paths.SOCKET.exists()
        return code

    def kill(self) -> None:
        """Kill it as the kernel would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
