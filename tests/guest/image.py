"""The disk of a guest whose memory proves itself: made, started, and its words understood.

``boot.s`` is the guest's program. It runs on every PC with a BIOS and 1 MiB of RAM (SeaBIOS in QEMU, IDE or virtio)
from the first sectors of its disk, counts in RAM, writes each count to its disk and prints on com1:

    boot B disk M    started from power-on for the B-th time from this disk, which had the count M on it (0: none)
    count N disk M   N counted in RAM since then, M read back from the disk: always the same
    chain bad N      a page of RAM is not of the time of the others; the guest stands still then
    disk bad N disk M   the disk is not of the time of RAM; the guest stands still then
    disk error       the disk cannot be written; the guest stands still then
    off              the power button was pressed, and the guest was made to obey it

A guest that was frozen and goes on prints the very next number. A freeze may fall into the middle of a line: what is
printed before it and what is printed after it must be put together before they are parsed.
"""

import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

_SECTOR = 512
_RECORD = 8 * _SECTOR  # where boot.s keeps its record
_BUTTON = 8  # where boot.s has the byte that makes it obey the power button
_MAGIC = 0x54504B43
_SALT = 0x5EED1E55
_POLL = 0.02  # seconds between two looks at what a guest has printed
_COUNT = re.compile(r"count (\d+) disk (\d+)")
_BOOT = re.compile(r"boot (\d+) disk (\d+)")


@dataclass(frozen=True, slots=True)
class Beat:
    """One count of the guest: COUNT is in its RAM, DISK on its disk."""

    count: int
    disk: int


@dataclass(frozen=True, slots=True)
class Boot:
    """A start from power-on or reset: the NUMBER of starts from this disk, and the count found on the DISK."""

    number: int
    disk: int


class GuestBroken(AssertionError):
    """The guest said that its RAM or its disk is not what it left there, or something that it never says."""


def write_image(path: Path, size: int, *, obeys_power_button: bool = False) -> None:
    """Make PATH a boot disk of SIZE bytes (a multiple of 512, 8 KiB at least) with no record on it.

    A new file is sparse; a block device (a zvol) keeps its size and what lies behind the first 8 KiB. A guest that
    obeys the power button (QEMU's pc and q35 only) prints `off` and switches itself off.
    """
    program = bytearray(_program())
    program[_BUTTON] = obeys_power_button
    start = bytes(program).ljust(_RECORD + _SECTOR, b"\0")
    if path.is_block_device():
        with path.open("r+b") as device:
            device.write(start)
        return
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def lines_of(text: bytes) -> list[str]:
    """Give the lines of what was printed on com1 without one at the end that is not complete yet."""
    return text.decode("ascii", "replace").replace("\r", "").split("\n")[:-1]


def console(path: Path) -> list[str]:
    """Give the lines in the file PATH that com1 goes to, none if there is no file yet."""
    return lines_of(path.read_bytes()) if path.exists() else []


def parse(lines: Iterable[str]) -> list[Beat]:
    """Give the counts among LINES, in order; raises GuestBroken for a line that tells of a fault."""
    beats = [_beat(line) for line in _whole(lines)]
    return [beat for beat in beats if isinstance(beat, Beat)]


def boots(lines: Iterable[str]) -> list[Boot]:
    """Give the starts from power-on or reset among LINES, in order; raises GuestBroken as parse does."""
    beats = [_beat(line) for line in _whole(lines)]
    return [beat for beat in beats if isinstance(beat, Boot)]


def on_disk(path: Path) -> Beat:
    """Give what the disk PATH says: the last count written to it, in both fields; 0 if there is none yet.

    Raises GuestBroken for a record that was only half written or never by the guest.
    """
    with path.open("rb") as file:
        file.seek(_RECORD)
        magic, starts, count, checksum = struct.unpack("<4I", file.read(16))
    if (magic, starts, count, checksum) == (0, 0, 0, 0):
        return Beat(0, 0)
    expected = _rotated(_rotated(magic) ^ starts) ^ count ^ _SALT
    if magic != _MAGIC or checksum != expected:
        raise GuestBroken(f"the record on {path} is damaged")
    return Beat(count, count)


def wait_for(
    path: Path, wanted: Callable[[list[str]], bool], *, seconds: float = 60.0, what: str = ""
) -> list[str]:
    """Wait until the lines on the console PATH satisfy WANTED, and give them; raises TimeoutError with the last."""
    deadline = time.monotonic() + seconds
    while True:
        lines = console(path)
        if wanted(lines):
            return lines
        if time.monotonic() > deadline:
            last = " | ".join(lines[-5:])
            raise TimeoutError(f"{path}: no {what or 'such line'} within {seconds:g} s: {last}")
        time.sleep(_POLL)


def wait_for_beats(path: Path, more: int = 1, *, seconds: float = 60.0) -> Beat:
    """Wait until MORE counts than now are on the console PATH, and give the last one."""
    before = len(parse(console(path)))
    lines = wait_for(
        path, lambda lines: len(parse(lines)) >= before + more, seconds=seconds, what="count"
    )
    return parse(lines)[-1]


def assert_unbroken(beats: list[Beat]) -> None:
    """Assert that BEATS are of one life: each count is the one before it and 1, and the disk agrees."""
    for one, next_one in pairwise(beats):
        assert next_one.count == one.count + 1, f"{one} was followed by {next_one}"
    for beat in beats:
        assert beat.count == beat.disk, f"the disk does not agree with RAM: {beat}"


def _whole(lines: Iterable[str]) -> list[str]:
    """Leave out empty lines, and a line that a power cut ended: boot.s begins its first line with a line feed."""
    kept: list[str] = []
    for line in lines:
        if line.startswith("boot ") and kept and kept[-1]:
            kept.pop()
        kept.append(line)
    return [line for line in kept if line]


def _beat(line: str) -> Beat | Boot | None:
    if found := _COUNT.fullmatch(line):
        return Beat(int(found[1]), int(found[2]))
    if found := _BOOT.fullmatch(line):
        return Boot(int(found[1]), int(found[2]))
    if line == "off":
        return None
    raise GuestBroken(f"the guest said: {line}")


def _rotated(number: int) -> int:
    return (number << 5 | number >> 27) & 0xFFFFFFFF


@cache
def _program() -> bytes:
    """Assemble boot.s."""
    source = Path(__file__).with_name("boot.s")
    with tempfile.TemporaryDirectory() as directory:
        made, program = Path(directory, "boot.o"), Path(directory, "boot")
        subprocess.run(["as", "--32", "-o", made, source], check=True)
        link = ["ld", "-m", "elf_i386", "-Ttext=0x7c00", "-e", "start", "--oformat", "binary"]
        subprocess.run([*link, "-o", program, made], check=True)
        return program.read_bytes()
