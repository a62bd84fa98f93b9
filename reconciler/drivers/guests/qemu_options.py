"""The command line of QEMU, taken apart: options with their values, sizes, and the disks that they name.

Syntax only, as qemu(1) has it; what is good or bad about it is ``qemu_definition``'s to say. Words that make no sense
are left to QEMU, which will not start with them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIB = 1 << 20
_UNITS = {"b": 1, "k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50, "e": 1 << 60}
_SIZE = re.compile(r"(0x[0-9a-f]{1,16}|[0-9]{1,20}(?:\.[0-9]+)?)([bkmgtpe]?)", re.IGNORECASE)
_PROTOCOL = re.compile(r"[^:/]+:")

_FLAGS = frozenset([
    "S", "alt-grab", "async-teardown", "audio-help", "ctrl-grab", "curses", "daemonize", "enable-fips",
    "enable-kvm", "enable-sync-profile", "full-screen", "h", "help", "mem-prealloc", "no-acpi",
    "no-fd-bootchk", "no-hpet", "no-kvm", "no-quit", "no-reboot", "no-shutdown", "no-user-config",
    "nodefaults", "nographic", "old-param", "only-migratable", "portrait", "preconfig", "s", "sdl",
    "singlestep", "snapshot", "usb", "version", "win2k-hack", "xen-attach", "xen-domid-restrict",
])  # fmt: skip
"""The options that have no value after them."""

_PLAIN_DISKS = frozenset(["hda", "hdb", "hdc", "hdd", "fda", "fdb", "pflash", "mtdblock", "sd"])
_REMOTE = frozenset(["nbd", "rbd", "iscsi", "ssh", "gluster", "nfs", "nvme", "vvfat"])


@dataclass(frozen=True, slots=True)
class Option:
    """One option without its dash, and what stands behind it (nothing for one that has no value)."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"-{self.name} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk that the arguments name: PATH as written there; OUTSIDE: it is no file at all (nbd://...)."""

    path: str
    writable: bool
    temporary: bool
    outside: bool


def options_of(arguments: Sequence[str]) -> tuple[Option, ...]:
    """Take ARGUMENTS apart; a lone word is what QEMU takes it for: the first hard disk."""
    found, words = [], iter(arguments)
    for word in words:
        if not word.startswith("-") or word == "-":
            found.append(Option("hda", word))
            continue
        name = word.removeprefix("-").removeprefix("-")
        found.append(Option(name, "" if name in _FLAGS else next(words, "")))
    return tuple(found)


def drives_of(option: Option) -> Iterator[Drive]:
    """Find the disks in one option: -drive, -blockdev, -hda and the like."""
    if option.name in _PLAIN_DISKS:
        yield _drive(option.value, writable=True)
    elif option.name == "cdrom":
        yield _drive(option.value, writable=False)
    elif option.name == "drive":
        values = settings_of(option.value, "")
        sealed = _on(values, "readonly", "read-only") or values.get("media") == "cdrom"
        for key, value in values.items():
            if key in {"file", "filename"} or key.endswith(".filename"):
                yield _drive(value, writable=not sealed, temporary=_on(values, "snapshot"))
    elif option.name == "blockdev":
        values = _blockdev(option.value)
        sealed = _on(values, "read-only")
        for key, value in values.items():
            if key == "filename" or key.endswith(".filename"):
                yield _drive(value, writable=not sealed)
        if values.get("driver") in _REMOTE:
            yield Drive(f"-blockdev {option.value}", not sealed, temporary=False, outside=True)


def settings_of(text: str, first: str) -> dict[str, str]:
    """Take ``a,b=c,d=e`` apart: FIRST is what a word without a key means at the beginning; two commas are one."""
    found: dict[str, str] = {}
    for place, part in enumerate(_parts(text)):
        key, equals, value = part.partition("=")
        if equals:
            found[key] = value
        elif place == 0 and first:
            found[first] = key
        else:
            found[key] = "on"
    return found


def size_of(text: str) -> int:
    """Read a size as -m has it: bytes, 0 if it is none. A number without a unit is in MiB."""
    found = _SIZE.fullmatch(text)
    if not found:
        return 0
    number, unit = found[1].lower(), found[2].lower() or "m"
    if number.startswith("0x"):
        return int(number, 16) * _UNITS[unit]
    return int(float(number) * _UNITS[unit])


def model_of(option: Option) -> str:
    """Tell which device a -device means, written either way."""
    if option.value.startswith("{"):
        return _flat(_json(option.value)).get("driver", "")
    return settings_of(option.value, "driver").get("driver", "")


def _drive(text: str, *, writable: bool, temporary: bool = False) -> Drive:
    if text.startswith("json:"):
        values = _flat(_json(text.removeprefix("json:")))
        names = [
            value for key, value in values.items() if key.rpartition(".")[2] in {"filename", "file"}
        ]
        text = names[0] if names else text
    path = text.removeprefix("file:")
    return Drive(path, writable, temporary, outside=bool(_PROTOCOL.match(path)))


def _parts(text: str) -> Iterator[str]:
    # A comma within a value is written twice (qemu(1)).
    for part in text.replace(",,", "\0").split(","):
        yield part.replace("\0", ",")


def _on(values: dict[str, str], *names: str) -> bool:
    return any(values.get(name) in {"on", "yes", "true", "y"} for name in names)


def _blockdev(text: str) -> dict[str, str]:
    return _flat(_json(text)) if text.startswith("{") else settings_of(text, "driver")


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # QEMU will say so


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    """Write a JSON value the way that -blockdev writes it without JSON: ``file.filename`` and so on."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, below in value.items():
            found |= _flat(below, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(value, bool):
        return {prefix: "on" if value else "off"}
    return {prefix: str(value)}
