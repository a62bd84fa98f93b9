"""A guest's definition as vm-bhyve reads it: ``<guest>/<guest>.conf``.

Text in, text out, except for reading and replacing the file at the end. Reads exactly as vm-bhyve's
``config::load`` and ``config::get`` do (lib/vm-config), odd as they are: a line counts if it begins with a small
letter, ``#`` ends it even between quotation marks, the marks are dropped, the first line with a key wins. What a
device can do is ``drivers.guests.bhyve_definition``'s to know; moving a guest's files is ``vm_bhyve_home``'s.
"""

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from reconciler.drivers.storage import sync_directory
from reconciler.errors import CkptreeError

_NO = re.compile(r"no|false|off|0|", re.IGNORECASE)  # util::yesno: anything else means yes
_UNSPEAKABLE = re.compile(r"[\s#\",]")
"""What a disk's path may not have: vm-bhyve cuts at ``#``, drops ``"``, splits at blanks; bhyve splits at commas."""


class Where(Enum):
    """How vm-bhyve finds a disk, from its ``diskN_dev`` (``vm::get_disk_path`` in lib/vm-run)."""

    FILE = "file"
    ZVOL = "zvol"
    CUSTOM = "custom"
    ELSEWHERE = "elsewhere"  # iscsi, 9p: nothing of this home


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfDisk:
    """One disk of a guest: ``diskN_name``, ``diskN_type`` (the emulation) and where it lies."""

    number: int
    name: str
    type: str
    where: Where

    @property
    def medium(self) -> bool:
        """Whether the guest can only read it."""
        return self.type == "ahci-cd"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a definition that is different now; BEFORE is none where there was no such line."""

    key: str
    before: str | None
    after: str

    def __str__(self) -> str:
        if self.before is None:
            return f'added {self.key}="{self.after}"'
        return f'{self.key}="{self.before}" -> "{self.after}"'


@dataclass(frozen=True, slots=True)
class Conf:
    """The text of a guest's definition."""

    text: str

    def find(self, key: str) -> str | None:
        """The value of KEY as vm-bhyve reads it; none if no line has it."""
        for line in self.text.split("\n"):
            entry = _entry(line)
            if entry is not None and entry[0] == key:
                return entry[1]
        return None

    def get(self, key: str, otherwise: str = "") -> str:
        """The value of KEY, OTHERWISE if no line has it."""
        found = self.find(key)
        return otherwise if found is None else found

    def flag(self, key: str) -> bool:
        """Whether KEY is set to anything but no, false, off or 0."""
        return not _NO.fullmatch(self.get(key))

    @property
    def disks(self) -> tuple[ConfDisk, ...]:
        """The disks that vm-bhyve gives to bhyve: it counts from 0 and stops at the first number that is missing."""
        found: list[ConfDisk] = []
        while (name := self.get(f"disk{len(found)}_name")) and (
            kind := self.get(f"disk{len(found)}_type")
        ):
            where = _where(self.get(f"disk{len(found)}_dev"))
            found.append(ConfDisk(number=len(found), name=name, type=kind, where=where))
        return tuple(found)

    @property
    def keeps_uefi_variables(self) -> bool:
        """Whether the guest's firmware writes ``uefi-vars.fd`` in the guest's directory."""
        return self.get("loader").partition("-")[0] == "uefi" and self.flag("uefi_vars")

    def entries(self) -> tuple[tuple[str, str], ...]:
        """Every key with its value, in the order of the file, each once."""
        found: dict[str, str] = {}
        for line in self.text.split("\n"):
            entry = _entry(line)
            if entry is not None:
                found.setdefault(*entry)
        return tuple(found.items())

    def opened_at(self, number: int, path: str) -> "tuple[Conf, tuple[Change, ...]]":
        """Let disk NUMBER be opened at PATH, with the changes made for it: none if it is so already.

        Raises CkptreeError if vm-bhyve could not read such a path.
        """
        odd = _UNSPEAKABLE.search(path)
        if odd is not None:
            raise CkptreeError(
                f"vm-bhyve cannot open {path}: it has {odd.group()!r} in it (give the home another mountpoint)"
            )
        changed, made = self, []
        for key, value in ((f"disk{number}_name", path), (f"disk{number}_dev", "custom")):
            before = changed.find(key)
            if before != value:
                made.append(Change(key, before, value))
                changed = changed._with(key, value, behind=f"disk{number}_name")
        return changed, tuple(made)

    def _with(self, key: str, value: str, behind: str) -> "Conf":
        """Put VALUE into the line of KEY that counts; a new line goes after the one of the key BEHIND."""
        lines = self.text.split("\n")
        for at, line in enumerate(lines):
            entry = _entry(line)
            if entry is not None and entry[0] == key:
                _, mark, comment = line.partition("#")
                lines[at] = f'{key}="{value}"' + (f" {mark}{comment}" if mark else "")
                return Conf("\n".join(lines))
        places = [at for at, line in enumerate(lines) if (_entry(line) or ("",))[0] == behind]
        lines.insert(places[0] + 1 if places else len(lines), f'{key}="{value}"')
        return Conf("\n".join(lines))


def _entry(line: str) -> tuple[str, str] | None:
    if not re.match("[a-z]", line):
        return None
    text = line.partition("#")[0].rstrip(" ").replace('"', "")
    key, equals, value = text.partition("=")
    return key, value if equals else text


def _where(dev: str) -> Where:
    match dev:
        case "zvol" | "sparse-zvol":
            return Where.ZVOL
        case "custom":
            return Where.CUSTOM
        case "iscsi" | "9p":
            return Where.ELSEWHERE
        case _:
            return Where.FILE


def read_conf(path: Path) -> Conf | None:
    """Read a definition; none if there is no such file. Raises CkptreeError."""
    try:
        return Conf(path.read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CkptreeError(f"{path} cannot be read: {error.strerror}") from error


def write_conf(path: Path, conf: Conf, like: Path) -> None:
    """Put CONF at PATH by one rename(2), on stable storage, with owner and mode of LIKE. Raises OSError."""
    facts = like.stat()
    fresh = path.with_name(f".{path.name}.ckptree-new")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), facts.st_mode & 0o7777)
        os.fchown(file.fileno(), facts.st_uid, facts.st_gid)
        file.write(conf.text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_directory(path.parent)
