"""An operator of a host with real ZFS: writes documents, runs `ckptree`, and looks with the `zfs` command itself."""

import contextlib
import io
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import IO, cast

from reconciler.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


_changes = 0
"""How often something may have been changed: what `zfs` said before is not asked for again until then."""


def shell(*argv: str) -> str:
    """Run a program; gives its output, raises with its complaint."""
    global _changes  # noqa: PLW0603
    _changes += argv[1] not in {"get", "list"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def _opened(path: Path, mode: str) -> IO[bytes]:
    """Open PATH; udev may take the link to a new volume away for a moment, to make it again."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            return cast(IO[bytes], path.open(mode))
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Operator:
    """The VM NAME in the dataset HOME, with documents in FOLDER; VOLUMES are its zvol disks."""

    def __init__(
        self,
        home: str,
        folder: Path,
        write_path: str,
        volumes: tuple[str, ...],
        name: str = "web",
    ) -> None:
        self.name = name
        self.home = home
        self.folder = folder
        self.write_path = write_path
        self.volumes = volumes
        self.document = folder / f"{name}.yaml"
        self._asked = -1
        self._answer: dict[str, dict[str, str]] = {}

    # Documents and commands

    def write(self, checkpoints: str, *keys: str) -> None:
        """Write the document with CHECKPOINTS (YAML of the tree) and further lines KEYS."""
        disks = ["disk0.img", *(f"{{zvol: {name}}}" for name in self.volumes)]
        tree = dedent(checkpoints).strip("\n")
        lines = [f"vm: {self.name}", f"dataset: {self.home}", f"disks: [{', '.join(disks)}]", *keys]
        lines.append("checkpoints: {}" if not tree else "checkpoints:\n" + indent(tree, "  "))
        self.document.write_text("\n".join(lines) + "\n")

    def ckptree(self, *arguments: str) -> Outcome:
        """Run the command as its entry point does."""
        out, err = io.StringIO(), io.StringIO()
        global _changes  # noqa: PLW0603
        _changes += 1
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["--vms", str(self.folder), "--zfs", self.write_path, *arguments])
        return Outcome(code, out.getvalue(), err.getvalue())

    def apply(self, *arguments: str, code: int = 0) -> Outcome:
        """Apply, and insist on the exit code: 0 says that nothing is left to do, 3 that something waits."""
        outcome = self.ckptree("apply", *arguments)
        assert outcome.code == code, outcome.text
        return outcome

    # The guest

    @property
    def path(self) -> Path:
        return Path("/run") / self.home

    @property
    def disk(self) -> Path:
        return self.path / "current" / "disk0.img"

    def guest_writes(self, text: str) -> None:
        """Write TEXT to every disk, as the guest would."""
        data = text.encode().ljust(4096, b"\0")
        for path in (self.disk, *(self.path / "current" / name for name in self.volumes)):
            with _opened(path, "r+b") as file:
                file.write(data)
                os.fsync(file.fileno())

    def guest_sees(self) -> str:
        """What all disks have, which must be the same."""
        found = set()
        for path in (self.disk, *(self.path / "current" / name for name in self.volumes)):
            with _opened(path, "rb") as file:
                found.add(file.read(4096).rstrip(b"\0").decode())
        assert len(found) == 1, found
        return found.pop()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A process that has the disk open, as a guest's would."""
        with self.disk.open("rb") as disk:
            guest = subprocess.Popen(["sleep", "600"], stdin=disk)
        try:
            yield
        finally:
            guest.kill()
            guest.wait()

    # What ZFS says

    def snapshots(self) -> set[str]:
        """Every snapshot at or below the home, without the home's name."""
        return {name for name in self._said() if "@" in name}

    def datasets(self) -> set[str]:
        """Every dataset below the home, without the home's name."""
        return {name for name in self._said() if "@" not in name and name != self.home}

    def get(self, name: str, key: str) -> str:
        """One property of NAME, which is relative to the home."""
        return self._said()[name][key]

    def held(self, name: str) -> bool:
        """Whether exactly one hold is on the snapshot; that it is ckptree's, one test looks at."""
        return self.get(name, "userrefs") == "1"

    def _said(self) -> dict[str, dict[str, str]]:
        if self._asked != _changes:
            keys = "guid,createtxg,origin,mounted,canmount,userrefs,ckptree:node,ckptree:grade,ckptree:retired"
            keys += ",ckptree:expires,ckptree:protect,ckptree:memory,ckptree:group"
            text = shell(
                "zfs", "get", "-Hp", "-r", "-t", "all", "-o", "name,property,value", keys, self.home
            )
            self._answer = {}
            for line in text.splitlines():
                name, key, value = line.split("\t")
                self._answer.setdefault(name.removeprefix(f"{self.home}/"), {})[key] = value
            self._asked = _changes
        return self._answer

    def everything(self) -> str:
        """All that ZFS says that may not change by itself."""
        keys = "name,guid,createtxg,origin,mounted,canmount,userrefs,ckptree:node,ckptree:retired"
        return shell("zfs", "list", "-Hp", "-t", "all", "-o", keys, "-r", self.home)

    @property
    def link(self) -> str:
        return str((self.path / "current").readlink())
