"""Names that are parsed once, so that an invalid one cannot exist anywhere behind this module.

The classes are strings: they compare, sort and print as what ZFS itself shows. Nothing here knows what a name
stands for; ``model`` gives it a meaning.
"""

import re
from typing import Self

from reconciler.errors import NameInvalid

AUTOMATIC_PREFIX = "auto-"
"""Names of automatic nodes begin so; an operator's own nodes may not."""

_LONGEST_DATASET = 255  # zfs(8): MAXNAMELEN with the terminator, the snapshot part included
_SCHEDULED = re.compile(r"auto-[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.: -]*")
_BRANCH = re.compile(r"b-([1-9][0-9]*)")
_SNAPSHOT_PART = re.compile(r"[A-Za-z0-9_.: -]+")


class _Name(str):
    # What is cut out of a valid name is valid: it is not parsed again, plans ask for it very often.
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class VmName(_Name):
    """The name of a virtual machine: letters, digits, ``.``, ``_`` and ``-``, at most 63."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse TEXT; raises NameInvalid."""
        if not _NODE.fullmatch(text):
            raise NameInvalid(
                "VM name", text, "letters, digits, '.', '_' and '-', at most 63 of them"
            )
        return super().__new__(cls, text)


class NodeName(_Name):
    """The name of a checkpoint, unique within its VM; the same alphabet as a VM's name."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse TEXT; raises NameInvalid."""
        if not _NODE.fullmatch(text):
            raise NameInvalid(
                "checkpoint name", text, "letters, digits, '.', '_' and '-', at most 63 of them"
            )
        return super().__new__(cls, text)

    @property
    def automatic(self) -> bool:
        """Whether ckptree made this node by itself (before a restore, by a schedule)."""
        return self.startswith(AUTOMATIC_PREFIX)

    @property
    def scheduled(self) -> bool:
        """Whether it is an automatic node that was taken where the guest is, as time passed, and not for a restore."""
        return _SCHEDULED.fullmatch(self) is not None


class Dataset(_Name):
    """The full name of a filesystem or volume, for example ``zroot/vm/web/b-1``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse TEXT; raises NameInvalid."""
        if len(text) > _LONGEST_DATASET or not all(
            _COMPONENT.fullmatch(part) and part not in {".", ".."} for part in text.split("/")
        ):
            raise NameInvalid("dataset", text, "POOL/NAME/... without '@', '#' or a leading '/'")
        return super().__new__(cls, text)

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self.partition("/")[0]

    @property
    def parent(self) -> "Dataset | None":
        """The dataset above this one; none above a pool."""
        above, slash, _ = self.rpartition("/")
        return str.__new__(Dataset, above) if slash else None

    @property
    def leaf(self) -> str:
        """The last component."""
        return self.rpartition("/")[2]

    def child(self, name: str) -> "Dataset":
        """Name a dataset directly below this one."""
        return Dataset(f"{self}/{name}")

    def below(self, other: str) -> bool:
        """Whether this is OTHER itself or lies anywhere below it."""
        return self == other or self.startswith(f"{other}/")

    def snapshot(self, short: str) -> "Snapshot":
        """Name a snapshot of this dataset."""
        return Snapshot(f"{self}@{short}")


class Snapshot(_Name):
    """The full name of a snapshot, for example ``zroot/vm/web/b-1@base``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse TEXT; raises NameInvalid."""
        dataset, at, short = text.partition("@")
        if not at or len(text) > _LONGEST_DATASET or not _SNAPSHOT_PART.fullmatch(short):
            raise NameInvalid("snapshot", text, "DATASET@NAME, at most 255 characters")
        Dataset(dataset)
        return super().__new__(cls, text)

    @property
    def dataset(self) -> Dataset:
        """The dataset that it is a snapshot of."""
        return str.__new__(Dataset, self.partition("@")[0])

    @property
    def short(self) -> str:
        """The part after the ``@``."""
        return self.partition("@")[2]


def branch_number(leaf: str) -> int | None:
    """Read the number out of a branch's last component (``b-12`` is 12); none if it is no branch's name."""
    match = _BRANCH.fullmatch(leaf)
    return int(match.group(1)) if match else None


def branch_name(home: Dataset, number: int) -> Dataset:
    """Name branch NUMBER of HOME."""
    return home.child(f"b-{number}")
