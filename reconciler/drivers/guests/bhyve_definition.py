"""What a bhyve guest is made of: its command line, and what of it decides whether its memory can be saved.

bhyve itself tells best: with ``-o config.dump=1`` it prints its configuration, as bhyve_config(5) has it, and exits
before it opens anything. Where it cannot be asked, its file or its arguments are read here.
"""

import getopt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reconciler.drivers.command import run
from reconciler.errors import CommandFailed
from reconciler.model.desired import Bhyve

WITHOUT_SAVE_HOOK = frozenset(
    {
        "nvme", "virtio-console", "virtio-scsi", "virtio-9p", "hda", "passthru", "virtio-input", "uart",
    }
)  # fmt: skip
"""PCI devices that bhyve cannot save, which it says only after all RAM is written; a TPM is the same."""

LONGEST_PATH = 255 - len(".kern")
"""Bytes of a memory file's path: bhyve applies NAME_MAX to the whole path of each file (strcat_extension)."""

_DUMP_SECONDS = 20.0
_DUMPED = (0, 1)  # bhyve exits 1 after a dump
_STANDARD_MEMORY = 256 << 20  # bhyve_config(5), memory.size
_MEBIBYTE = 1 << 20
_UNITS = "kmgtpe"
_PCI = re.compile(r"pci\.(\d+)\.(\d+)\.(\d+)\.device")
_PATH = re.compile(r"pci\.\d+\.\d+\.\d+\.(?:port\.\d+\.)?path|(?:lpc\.)?boot(?:rom|vars)")
_REFERENCE = re.compile(r"%\(([^)]+)\)")
_DEEPEST = 16  # references in references, as bhyve has it
_COMS = ("com1", "com2", "com3", "com4")
_ANYWHERE = {"", "localhost", "0.0.0.0", "*"}  # noqa: S104 - what may be in a definition; we connect to loopback
_OPTIONS = "aehuwxACDEHIMPSWYk:f:o:p:g:G:c:s:m:l:K:U:r:"  # bhyverun.c


@dataclass(frozen=True, slots=True)
class Device:
    """A PCI device: its ADDRESS as bhyve names it (``pci.0.3.0``) and its MODEL."""

    address: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a guest is made of. MEMORY in bytes; STUB is where its GDB stub listens; COMS are its serial ports.

    PATHS are the files and devices that it opens as disks and firmware.

    BOOTROM: it starts by firmware, and bhyve itself makes the VM object.
    """

    devices: tuple[Device, ...]
    memory: int
    cpus: int
    stub: tuple[str, int] | None = None
    bootrom: bool = False
    coms: tuple[str, ...] = ()
    tpm: bool = False
    paths: tuple[str, ...] = ()

    @property
    def without_save_hook(self) -> tuple[str, ...]:
        """The devices that keep bhyve from saving the guest's memory."""
        found = [
            f"{device.model} ({device.address})"
            for device in self.devices
            if device.model in WITHOUT_SAVE_HOOK
        ]
        return (*found, "tpm") if self.tpm else tuple(found)

    @cached_property
    def digest(self) -> str:
        """A short digest of everything that must be the same for saved memory to be resumed."""
        from hashlib import sha256  # dear, and the keeper does without

        parts = [f"{device.address}={device.model}" for device in self.devices]
        parts += [f"memory={self.memory}", f"cpus={self.cpus}", *self.coms]
        parts += ["bootrom"] if self.bootrom else []
        return sha256("\n".join(parts).encode()).hexdigest()[:16]


def command_line(bhyve: Bhyve, vm: str, home: str, memory: str | None = None) -> tuple[str, ...]:
    """The program and its arguments; run in HOME, since paths in a definition are relative to it."""
    resume = () if memory is None else ("-r", memory)
    return ("bhyve", *resume, *_arguments(bhyve, home), vm)


def read_definition(bhyve: Bhyve, vm: str, home: str) -> Definition:
    """Find out what the guest is made of. Never raises: what cannot be read counts as absent."""
    settings = _dumped(bhyve, vm, home)
    if not any(_PCI.fullmatch(key) for key in settings):
        settings = {"name": vm, **_read_here(_arguments(bhyve, home), home)}
    return _definition(settings)


def saving_way(mode: str, definition: Definition) -> str:
    """How memory is saved: ``checkpoint``, which is shorter, where there is a GDB stub, else ``suspend``."""
    if mode in {"suspend", "checkpoint"}:
        return mode
    return "suspend" if definition.stub is None else "checkpoint"


def _arguments(bhyve: Bhyve, home: str) -> tuple[str, ...]:
    return ("-k", f"{home}/{bhyve.config}", *bhyve.args) if bhyve.config is not None else bhyve.args


def _dumped(bhyve: Bhyve, vm: str, home: str) -> dict[str, str]:
    argv = ("bhyve", *_arguments(bhyve, home), "-o", "config.dump=1", vm)
    try:
        done = run(argv, timeout=_DUMP_SECONDS, cwd=home, codes=_DUMPED)
    except CommandFailed:
        return {}
    return dict(_assignments(done.stdout.splitlines()))


def _assignments(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            yield key, value


def _read_here(arguments: Sequence[str], home: str) -> dict[str, str]:
    """Read what bhyve would read out of ARGUMENTS; later ones win, as there."""
    settings: dict[str, str] = {}
    try:
        options, _ = getopt.getopt(list(arguments), _OPTIONS)
    except getopt.GetoptError:
        return settings
    for option, value in options:
        settings.update(_option(option, value, home))
    return settings


def _option(option: str, value: str, home: str) -> Iterator[tuple[str, str]]:  # noqa: C901 - one case an option
    first, _, rest = value.partition(",")
    match option:
        case "-k":
            try:
                text = Path(home, value).read_text("utf-8", "replace")
            except OSError:
                return
            yield from _assignments(text.splitlines())
        case "-o":
            yield from _assignments([value])
        case "-m":
            yield "memory.size", value
        case "-c":
            for part in value.split(","):
                key, equals, number = part.partition("=")
                yield (key, number) if equals else ("cpus", part)
        case "-s":
            address = _slot(first)
            if address is not None:
                yield from _device(address, *rest.partition(",")[::2])
        case "-l" if first.startswith("com"):
            yield f"lpc.{first}.path", rest
        case "-l" if first == "bootrom":
            yield from zip(("lpc.bootrom", "lpc.bootvars"), rest.split(","), strict=False)
        case "-l" if first == "tpm":
            yield "tpm.type", rest
        case "-G":
            address, _, port = value.lstrip("w").rpartition(":")
            yield "gdb.port", port
            yield "gdb.address", address
        case _:
            pass


def _device(address: str, model: str, options: str) -> Iterator[tuple[str, str]]:
    """What -s says of a device, as configuration (blockif_legacy_config, pci_ahci_legacy_config)."""
    yield f"{address}.device", model
    words = options.split(",")
    if model in {"virtio-blk", "nvme"}:
        yield f"{address}.path", words[0]
    elif model in {"ahci-hd", "ahci-cd"}:
        yield f"{address}.port.0.path", words[0]
    elif model == "ahci":
        for number, word in enumerate(word for word in words if word[:3] in {"hd:", "cd:"}):
            yield f"{address}.port.{number}.path", word[3:]


def _slot(text: str) -> str | None:
    """Turn BUS:SLOT:FUNCTION, SLOT:FUNCTION or SLOT into bhyve's own form."""
    numbers = text.split(":")
    if not all(number.isdecimal() for number in numbers) or len(numbers) > 3:
        return None
    bus, slot, function = {
        1: ["0", *numbers, "0"],
        2: ["0", *numbers],
        3: numbers,
    }[len(numbers)]
    return f"pci.{int(bus)}.{int(slot)}.{int(function)}"


def _definition(settings: dict[str, str]) -> Definition:
    devices = [
        (tuple(int(number) for number in match.groups()), model)
        for key, model in settings.items()
        if (match := _PCI.fullmatch(key))
    ]
    port = settings.get("gdb.port", "")
    address = settings.get("gdb.address", "").strip("[]")
    return Definition(
        devices=tuple(
            Device(f"pci.{bus}.{slot}.{function}", model)
            for (bus, slot, function), model in sorted(devices)
        ),
        memory=_size(settings.get("memory.size", "")),
        cpus=_cpus(settings),
        stub=("127.0.0.1" if address in _ANYWHERE else address, int(port))
        if port.isdecimal()
        else None,
        bootrom=bool(settings.get("lpc.bootrom")) or bool(settings.get("bootrom")),
        coms=tuple(com for com in _COMS if settings.get(f"lpc.{com}.path")),
        tpm=any(key.endswith("tpm.type") for key in settings),
        paths=tuple(_expanded(settings, key) for key in settings if _PATH.fullmatch(key)),
    )


def _expanded(settings: dict[str, str], key: str) -> str:
    """The value of KEY with each ``%(NAME)`` in it replaced (bhyve_config(5)); bhyve prints it as it was written."""
    value = settings[key]
    for _ in range(_DEEPEST):
        if not _REFERENCE.search(value):
            break
        value = _REFERENCE.sub(lambda found: settings.get(found[1], ""), value)
    return value


def _cpus(settings: dict[str, str]) -> int:
    if "cpus" in settings:
        return _whole(settings["cpus"])
    return (
        _whole(settings.get("sockets", "1"))
        * _whole(settings.get("cores", "1"))
        * _whole(settings.get("threads", "1"))
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 1


def _size(text: str) -> int:
    """Read a size as bhyve does: a bare number below a mebibyte counts mebibytes (vm_parse_memsize)."""
    number, unit = text.strip().lower(), ""
    if number[-1:] == "b":
        number = number[:-1]
    if number[-1:] and number[-1] in _UNITS:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal():
        return _STANDARD_MEMORY
    size = int(number)
    if unit:
        return size << (10 * (_UNITS.index(unit) + 1))
    return size * _MEBIBYTE if size < _MEBIBYTE else size
