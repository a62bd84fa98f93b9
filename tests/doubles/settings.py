"""What a bhyve command line means: bhyve(8) options and bhyve_config(5) variables, as one flat tree.

Only what the doubles act on is understood; every other variable is kept and ignored, as bhyve does it.
"""

from __future__ import annotations

from tests.doubles.host import fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

Settings = dict[str, str]

_WITH_VALUE = set("cfGkKlmoprsUE")
_FLAGS = {
    "A": ("acpi_tables", "true"),
    "D": ("destroy_on_poweroff", "true"),
    "H": ("x86.vmexit_on_hlt", "true"),
    "P": ("x86.vmexit_on_pause", "true"),
    "S": ("memory.wired", "true"),
    "w": ("x86.strictmsr", "false"),
    "W": ("virtio_msix", "false"),
    "x": ("x86.x2apic", "true"),
    "Y": ("x86.mptable", "false"),
    "a": ("x86.x2apic", "false"),
    "u": ("rtc.use_localtime", "false"),
    "C": ("memory.guest_in_core", "true"),
    "e": ("x86.strictio", "true"),
}
_FIRST_WORD = {"virtio-blk": "path", "nvme": "path", "ahci-hd": "path", "ahci-cd": "path"}
_SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40}


class Arguments:
    """A parsed command line: the tree, and the checkpoint to resume, which no variable can name."""

    def __init__(self, words: list[str], *, knows_restore: bool) -> None:
        self.tree: Settings = {
            "acpi_tables": "false",
            "cpus": "1",
            "memory.size": "256M",
            "x86.strictmsr": "true",
        }
        self.restore = ""
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            letters = rest.pop(0)[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in _FLAGS:
                    name, value = _FLAGS[letter]
                    self.tree[name] = value
                elif letter in _WITH_VALUE and (letter != "r" or knows_restore):
                    if not letters and not rest:
                        usage()
                    self._option(letter, letters or rest.pop(0))
                    letters = ""
                else:
                    usage()
        if len(rest) > 1:
            usage()
        if rest:
            self.tree["name"] = rest[0]

    def _option(self, letter: str, value: str) -> None:
        if letter == "c":
            count, _, more = value.partition(",")
            self.tree["cpus"] = count.removeprefix("cpus=")
            for pair in more.split(","):
                name, equals, number = pair.partition("=")
                if equals:
                    self.tree[name] = number
        elif letter == "G":
            self._debugger(value)
        elif letter == "k":
            self._file(value)
        elif letter == "l":
            self._lpc(value)
        elif letter == "m":
            self.tree["memory.size"] = value
        elif letter == "o":
            self._variable(value)
        elif letter == "r":
            self.restore = value
        elif letter == "s":
            self._slot(value)
        elif letter == "U":
            self.tree["uuid"] = value

    def _debugger(self, value: str) -> None:
        if value.startswith("w"):
            self.tree["gdb.wait"] = "true"
            value = value[1:]
        address, _, port = value.rpartition(":")
        self.tree["gdb.port"] = port
        if address:
            self.tree["gdb.address"] = address

    def _file(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError as error:
            fail(1, f"bhyve: Failed to open configuration file {path}: {error.strerror}")
        for line in lines:
            if line and not line.startswith("#"):
                self._variable(line)

    def _variable(self, pair: str) -> None:
        name, equals, value = pair.partition("=")
        if not equals:
            fail(4, f"bhyve: Failed to parse configuration variable: {pair}")
        self.tree[name] = value

    def _lpc(self, value: str) -> None:
        device, _, conf = value.partition(",")
        if device == "bootrom":
            rom, _, variables = conf.partition(",")
            self.tree["lpc.bootrom"] = rom
            if variables:
                self.tree["lpc.bootvars"] = variables
        else:
            self.tree[f"lpc.{device}.path"] = conf

    def _slot(self, value: str) -> None:
        where, _, rest = value.partition(",")
        device, _, conf = rest.partition(",")
        numbers = where.split(":")
        if not device or not all(part.isdigit() for part in numbers) or len(numbers) > 3:
            fail(1, f"pci slot {where} is not valid", f"{value}: invalid")
        bus = numbers[0] if len(numbers) == 3 else "0"
        slot = numbers[-2] if len(numbers) > 1 else numbers[0]
        function = numbers[-1] if len(numbers) > 1 else "0"
        prefix = f"pci.{bus}.{slot}.{function}"
        self.tree[f"{prefix}.device"] = device
        for index, word in enumerate(part for part in conf.split(",") if part):
            name, equals, option = word.partition("=")
            if index == 0 and device in _FIRST_WORD:
                self.tree[f"{prefix}.{_FIRST_WORD[device]}"] = word
            elif index == 0 and device == "virtio-net":
                self.tree[f"{prefix}.backend"] = word
            else:
                self.tree[f"{prefix}.{name}"] = option if equals else "true"


def usage() -> NoReturn:
    """Say how bhyve is called and end with 1."""
    fail(1, "Usage: bhyve [-k config_file] [-o var=value] [-c vcpus] [-m mem] [-s <pci>] vmname")


def expanded(tree: Settings, name: str, default: str = "") -> str:
    """Give the variable NAME with %(other) replaced, bhyve_config(5)."""
    value = tree.get(name, default)
    for _ in range(8):
        before, found, after = value.partition("%(")
        if not found or ")" not in after:
            break
        inner, _, after = after.partition(")")
        value = before + tree.get(inner, "") + after
    return value


def memory_size(text: str) -> int:
    """Give a size of memory in bytes; a number below 1 MiB counts MiB, bhyve(8). 0 if it is none."""
    digits, suffix = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if not digits.isdigit() or (suffix and suffix not in _SUFFIXES):
        return 0
    size = int(digits) << (_SUFFIXES[suffix] if suffix else 0)
    return size << 20 if size < 1 << 20 else size


def pci_devices(tree: Settings) -> list[tuple[str, str]]:
    """Give (model, variable prefix) of each PCI device, by bus, slot and function."""
    found = []
    for name, value in tree.items():
        parts = name.split(".")
        if len(parts) == 5 and parts[0] == "pci" and parts[4] == "device":
            found.append(([int(part) for part in parts[1:4]], value, name.removesuffix(".device")))
    return [(model, prefix) for _, model, prefix in sorted(found)]
