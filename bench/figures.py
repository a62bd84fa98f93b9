"""Times that were measured, put together: a table for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

MOST_DOWNTIME = 1.10  # of what the same work takes bare
MOST_DIFFERENCE = 0.10  # between a restore of a small disk and of a large one
_WIDTH = 58


@dataclass(frozen=True, slots=True)
class Downtime:
    """How long the guest stood: seconds, by QEMU's own events. SAVING is the part until its RAM was written."""

    whole: float
    saving: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two captures, one right after the other: by ckptree, and bare."""

    ckptree: Downtime
    bare: Downtime

    @property
    def ratio(self) -> float:
        """How many times as long the guest stood with ckptree."""
        return self.ckptree.whole / self.bare.whole


@dataclass(frozen=True, slots=True)
class Restored:
    """One restore: seconds from the guest's STOP until the restored guest ran, and of the whole `ckptree apply`.

    STANDING has three parts: SAVING until the old QEMU ends, STARTING until the new one reads RAM, and the rest.
    """

    standing: float
    saving: float
    starting: float
    apply: float


@dataclass(frozen=True, slots=True)
class Copied:
    """Seconds for a copy of the disk image on stable storage: every byte, or as plain ``cp`` does it."""

    bytes: float
    plain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. RESTORES and COPIES are of the small disk and of the large one, each measured in turns."""

    ram: int
    filled: int
    data: int
    sizes: tuple[int, int]
    pairs: Sequence[Pair]
    restores: Sequence[tuple[Restored, Restored]]
    copies: tuple[Copied, Copied]

    @property
    def downtime_ratio(self) -> float:
        """The median of the ratios, pair by pair."""
        return median(pair.ratio for pair in self.pairs)

    @property
    def restore_ratio(self) -> float:
        """The large disk against the small one: the median of the ratios, turn by turn."""
        return median(large.standing / small.standing for small, large in self.restores)

    def table(self) -> str:
        """Write all of it for people."""
        small, large = (f"{size >> 30} GiB disk" for size in self.sizes)
        lines = [
            f"Downtime of a capture: {self.ram} MiB of RAM, {self.filled} MiB of it filled; {len(self.pairs)} pairs",
            _head("min", "median", "max"),
            _row("ckptree", [pair.ckptree.whole for pair in self.pairs]),
            _row("  of this, until RAM is written", [p.ckptree.saving for p in self.pairs]),
            _row("bare: QEMU's own save and one lzc_snapshot", [p.bare.whole for p in self.pairs]),
            _row("  of this, until RAM is written", [p.bare.saving for p in self.pairs]),
            _row("ratio, pair by pair", [pair.ratio for pair in self.pairs], unit=""),
            _verdict(
                self.downtime_ratio <= MOST_DOWNTIME,
                f"a median ratio of at most {MOST_DOWNTIME:.2f}",
                f"{self.downtime_ratio:.3f}",
            ),
            "",
            f"Restore with memory: {self.data} MiB of data on each disk, the rest is holes; {len(self.restores)} turns",
            _head("min", "median", "max"),
            *_standing(small, [one for one, _ in self.restores]),
            *_standing(large, [one for _, one in self.restores]),
            _row(f"{small}: whole apply", [one.apply for one, _ in self.restores]),
            _row(f"{large}: whole apply", [one.apply for _, one in self.restores]),
            _row(
                "ratio of STOP until running, turn by turn",
                [large.standing / small.standing for small, large in self.restores],
                unit="",
            ),
            _verdict(
                abs(self.restore_ratio - 1) <= MOST_DIFFERENCE,
                f"equal within {MOST_DIFFERENCE:.0%}",
                f"{self.restore_ratio:.3f}",
            ),
            "",
            "For comparison: a copy of the same image, with fsync",
        ]
        for name, copied in zip((small, large), self.copies, strict=True):
            lines.append(
                f"  {f'{name}: every byte (--reflink=never)':<{_WIDTH}}{copied.bytes:9.3f} s"
            )
            lines.append(f"  {f'{name}: plain cp':<{_WIDTH}}{copied.plain:9.3f} s")
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Write every single time, in seconds, sizes in bytes."""
        document = {
            "downtime": {
                "ram": self.ram << 20,
                "filled": self.filled << 20,
                "pairs": [
                    {
                        "ckptree": asdict(pair.ckptree),
                        "bare": asdict(pair.bare),
                        "ratio": pair.ratio,
                    }
                    for pair in self.pairs
                ],
                "median_ratio": self.downtime_ratio,
                "target": MOST_DOWNTIME,
                "met": self.downtime_ratio <= MOST_DOWNTIME,
            },
            "restore": {
                "data": self.data << 20,
                "disks": [
                    {
                        "size": size,
                        "restores": [asdict(turn[number]) for turn in self.restores],
                        "copy": asdict(self.copies[number]),
                    }
                    for number, size in enumerate(self.sizes)
                ],
                "median_ratio": self.restore_ratio,
                "target": MOST_DIFFERENCE,
                "met": abs(self.restore_ratio - 1) <= MOST_DIFFERENCE,
            },
        }
        return json.dumps(document, indent=2) + "\n"


def _head(*names: str) -> str:
    return " " * (_WIDTH + 2) + "".join(f"{name:>9}  " for name in names).rstrip()


def _standing(name: str, restores: Sequence[Restored]) -> tuple[str, ...]:
    reading = [one.standing - one.saving - one.starting for one in restores]
    return (
        _row(f"{name}: STOP until running", [one.standing for one in restores]),
        _row("  of this, RAM and snapshot kept", [one.saving for one in restores]),
        _row("  of this, link switched and QEMU started", [one.starting for one in restores]),
        _row("  of this, RAM read", reading),
    )


def _row(name: str, values: Sequence[float], unit: str = " s") -> str:
    figures = (min(values), median(values), max(values))
    return f"  {name:<{_WIDTH}}" + "".join(f"{value:9.3f}{unit:2}" for value in figures).rstrip()


def _verdict(met: bool, target: str, found: str) -> str:  # noqa: FBT001
    return f"  target {'met' if met else 'missed'}: {target}; found {found}"
