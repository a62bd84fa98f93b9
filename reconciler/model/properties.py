"""The user properties in which ZFS itself keeps the tree, and how text is written into them.

Names per design: module ``ckptree:``. Text from people is percent-encoded, because a tab or a newline in a value
breaks every listing of `zfs` (and non-ASCII text depends on the reader's locale).
"""

from datetime import UTC, datetime
from enum import Enum
from urllib.parse import quote, unquote

from reconciler.errors import CkptreeError

VM = "ckptree:vm"
OWNER = "ckptree:owner"
BRANCH = "ckptree:branch"
BASELINE = "ckptree:baseline"
"""On a branch: what ckptree itself wrote into a fresh clone (bytes of ``written``), so that it does not count as
the guest's unsaved state; MAKING as long as ckptree is still at it. See ``Branch.baseline``."""
MAKING = "making"
NODE = "ckptree:node"
GRADE = "ckptree:grade"
MEMORY = "ckptree:memory"
TAKEN = "ckptree:taken"
ABOUT = "ckptree:about"
LABELS = "ckptree:labels"
FINGERPRINT = "ckptree:fingerprint"
GROUP = "ckptree:group"
"""On a node that was taken at one instant with those of other VMs: the name that they share."""
RETIRED = "ckptree:retired"
PROTECT = "ckptree:protect"
EXPIRES = "ckptree:expires"

ALL = (
    VM, OWNER, BRANCH, BASELINE, NODE, GRADE, MEMORY, TAKEN, ABOUT, LABELS, FINGERPRINT, GROUP, RETIRED, PROTECT,
    EXPIRES,
)  # fmt: skip

MEMORY_FOLDER = ".ckptree"
MEMORY_SUFFIX = ".ckp"
MEMORY_BESIDE = (".kern", ".meta")
RESUMED = ".resumed.ckp"
"""Files of RAM lie in the branch as ``.ckptree/NODE.ckp``, with those beside them that bhyve adds (MEMORY_BESIDE); as
soon as one is resumed it has the name RESUMED, which no node can have, so that no other start ever finds it."""

HOLD = "ckptree"
"""The tag of our holds (zfs-hold(8))."""

LONGEST_VALUE = 8191  # zfsprops(7): a user property's value in bytes


class Grade(Enum):
    """How consistent a node is."""

    MEMORY = "memory"
    CLEAN = "clean"
    QUIESCED = "quiesced"
    CRASH = "crash"


def encode_text(text: str) -> str:
    """Write people's text so that it is one line of printable ASCII."""
    return quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~")


def decode_text(value: str) -> str:
    """Read what encode_text wrote; any other value comes back readable too."""
    return unquote(value, errors="replace")


def encode_labels(labels: tuple[tuple[str, str], ...]) -> str:
    """Write labels as ``key=value,key=value``."""
    return ",".join(
        f"{quote(key, safe='/._-')}={quote(value, safe='/._-')}" for key, value in labels
    )


def decode_labels(value: str) -> tuple[tuple[str, str], ...]:
    """Read what encode_labels wrote."""
    pairs = (item.partition("=") for item in value.split(",") if item)
    return tuple((unquote(key), unquote(text)) for key, _, text in pairs)


def encode_time(moment: datetime) -> str:
    """Write a moment as UTC, to the second: ``2026-11-23T18:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decode_time(value: str) -> datetime:
    """Read what encode_time wrote; raises CkptreeError on anything else."""
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise CkptreeError(f"{value!r} is not a UTC time like 2026-11-23T18:00:00Z") from None
