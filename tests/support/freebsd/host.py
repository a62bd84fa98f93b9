"""A folder that stands for a FreeBSD host with the service ckptree, for tests of the service files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
STAND_INS = Path(__file__).parent
PATIENCE = 30.0  # seconds

# What the service runs. It notes its arguments, signals and environment in files beside itself.
STAND_IN = """#!/bin/sh
here=${0%/*}
printf '%s\\n' "$*" >>"$here/calls"
while [ "${1#--}" != "$1" ]; do shift 2; done
case $1 in
validate) cat "$here/faults"; [ ! -s "$here/faults" ] ;;
plan) echo "planned: $*"; exit 2 ;;
status) echo "status: $*"; exit "$(cat "$here/status")" ;;
run)
  trap 'echo HUP >>"$here/signals"' HUP
  trap 'sleep 0.3; echo TERM >>"$here/signals"; exit 0' TERM
  env >"$here/environment"
  echo $$ >"$here/up"
  while :; do sleep 0.05; done ;;
esac
"""


def eventually(what: Callable[[], object]) -> None:
    """Wait until WHAT is true."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether PID runs; one that has ended and was not asked for its exit code yet does not."""
    stat = text(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@dataclass
class FreeBsd:
    """A folder that stands for a FreeBSD host, on which `service ckptree WORD` is `service("WORD")`."""

    root: Path
    shell: tuple[str, ...] = ("dash",)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.root / "local"
        self.home.mkdir()
        self.run = self.root / "run"
        program = self.home / "ckptree"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (self.home / "faults").write_text("")
        (self.home / "status").write_text("0")
        self.rc_conf("ckptree_enable=YES")
        script = (CHECKOUT / "rc.d" / "ckptree").read_text()
        for real, here in (
            ("/etc/rc.subr", str(STAND_INS / "rc.subr")),
            ("/usr/sbin/daemon", str(STAND_INS / "daemon")),
            ("/var/run/ckptree", str(self.run)),
            ("/usr/local/bin/ckptree", str(program)),
        ):
            assert real in script
            script = script.replace(real, here)
        self.script = self.root / "ckptree"
        self.script.write_text(script)

    def rc_conf(self, *lines: str) -> None:
        (self.root / "rc.conf").write_text("\n".join(lines) + "\n")

    def faulty(self, finding: str) -> None:
        (self.home / "faults").write_text(f"{finding}\n")

    def service(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, str(self.script), *words],
            env={
                "PATH": os.environ["PATH"],
                "RC_CONF": str(self.root / "rc.conf"),
                "RC_LOG": str(self.root / "log"),
                "DAEMON_LOG": str(self.root / "daemon"),
                **self.environment,
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def composed(self) -> list[str]:
        """The arguments that daemon(8) was started with."""
        return text(self.root / "daemon").splitlines()[-1].split("\0")

    @property
    def calls(self) -> list[str]:
        return text(self.home / "calls").splitlines()

    @property
    def supervisor(self) -> int:
        return int(text(self.run / "supervisor.pid") or 0)

    @property
    def child(self) -> int:
        return int(text(self.run / "daemon.pid") or 0)

    def up(self) -> FreeBsd:
        """Start the service and wait until the program runs."""
        assert self.service("start").returncode == 0
        eventually(lambda: text(self.home / "up") and self.supervisor and self.child)
        return self

    def end(self) -> None:
        for pid in (self.supervisor, self.child):
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
