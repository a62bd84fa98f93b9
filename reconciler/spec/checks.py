"""What the parts of one document must be to each other: one function for each rule.

Only what the file itself can show: whether a checkpoint exists on the host is for ``plan`` to say.
"""

from collections.abc import Iterator

from reconciler.model.desired import DesiredNode, FileDisk, SourcePosition, VolumeDisk
from reconciler.names import Dataset, NodeName
from reconciler.spec.complaints import suggestion
from reconciler.spec.document import Document
from reconciler.spec.findings import Finding, excerpt

_LONGEST_SNAPSHOT = 255
_LONGEST_BRANCH = "b-999999"


def check_document(document: Document) -> Iterator[Finding]:
    """Give every fault of DOCUMENT that its single values do not show."""
    yield from _node_names(document)
    yield from _current(document)
    yield from _old_names(document)
    yield from _adopted(document)
    yield from _groups(document)
    yield from _disk_names(document)
    yield from _snapshot_names(document)


def _node_names(document: Document) -> Iterator[Finding]:
    first: dict[NodeName, DesiredNode] = {}
    for placed in document.nodes:
        node = placed.node
        before = first.setdefault(node.name, node)
        if before is node:
            continue
        if before.parent == node.parent:
            continue  # beside each other: the parser has reported the repeated key
        yield Finding(
            node.position,
            f"the checkpoint {excerpt(node.name)} has a second parent, and stands already at"
            f" {before.position}",
            "give one of the two another name",
        )


def _current(document: Document) -> Iterator[Finding]:
    current = document.current
    names = [placed.node.name for placed in document.nodes]
    if current is None or current.value in names or current.value.automatic:
        return
    close = suggestion(current.value, [str(name) for name in names])
    yield Finding(
        current.position,
        f"'current' names {excerpt(current.value)}, which is no checkpoint of this file",
        f"write '{close}'" if close else "write the name of a checkpoint, or leave 'current' out",
    )


def _old_names(document: Document) -> Iterator[Finding]:
    standing = {placed.node.name: placed.node.position for placed in document.nodes}
    taken: dict[NodeName, SourcePosition] = {}
    for placed in document.nodes:
        was = placed.node.was
        if was is None:
            continue
        position = placed.keys["was"]
        if was in standing:
            message = f"'was' names {excerpt(was)}, which still stands at {standing[was]}"
            yield Finding(position, message, "remove the old name, or 'was'")
        elif was in taken:
            message = f"{excerpt(was)} is the old name of another checkpoint too, at {taken[was]}"
            yield Finding(position, message, "write each old name once")
        taken.setdefault(was, position)


def _adopted(document: Document) -> Iterator[Finding]:
    taken: dict[str, SourcePosition] = {}
    for placed in document.nodes:
        adopt = placed.node.adopt
        if adopt is None:
            continue
        position = placed.keys["adopt"]
        dataset, at, _ = adopt.rpartition("@")
        home = document.dataset.value if document.dataset else None
        if at and home and not _below(dataset, home):
            message = f"{excerpt(adopt)} is no snapshot at or below {home}"
            yield Finding(position, message, "write a snapshot of this VM's own branches")
        if adopt in taken:
            message = f"{excerpt(adopt)} is adopted twice, already at {taken[adopt]}"
            yield Finding(position, message, "adopt each snapshot once")
        taken.setdefault(adopt, position)


def _groups(document: Document) -> Iterator[Finding]:
    taken: dict[str, DesiredNode] = {}
    for placed in document.nodes:
        group = placed.node.group
        if group is None:
            continue
        if group in taken:
            message = f"two checkpoints of one VM are in the group {excerpt(group)}, the other is {taken[group].name}"
            yield Finding(placed.keys["group"], message, "give one of them another group")
        taken.setdefault(group, placed.node)


def _below(dataset: str, home: Dataset) -> bool:
    return dataset == home or dataset.startswith(f"{home}/")


def _disk_names(document: Document) -> Iterator[Finding]:
    volumes = {disk.value.name for disk in document.disks if isinstance(disk.value, VolumeDisk)}
    taken: dict[str, SourcePosition] = {}
    for disk in document.disks:
        match disk.value:
            case FileDisk(path):
                name = path
                folder = path.partition("/")[0]
                if folder != path and folder in volumes:
                    message = f"{excerpt(path)} lies below the volume {excerpt(folder)}"
                    yield Finding(disk.position, message, "put the file into another folder")
            case VolumeDisk(name):
                pass
        if name in taken:
            message = f"the disk {excerpt(name)} is written twice, already at {taken[name]}"
            yield Finding(disk.position, message, "write each disk once")
        taken.setdefault(name, disk.position)


def _snapshot_names(document: Document) -> Iterator[Finding]:
    if document.dataset is None:
        return
    volumes = [
        len(disk.value.name) + 1 for disk in document.disks if isinstance(disk.value, VolumeDisk)
    ]
    branch = len(document.dataset.value) + 1 + len(_LONGEST_BRANCH) + max(volumes, default=0)
    for placed in document.nodes:
        size = branch + 1 + len(placed.node.name)
        if size > _LONGEST_SNAPSHOT:
            yield Finding(
                placed.node.position,
                f"the snapshots of {excerpt(placed.node.name)} would have names of {size}"
                f" characters, and ZFS allows {_LONGEST_SNAPSHOT}",
                f"write a name that is {size - _LONGEST_SNAPSHOT} characters shorter, or move the"
                " VM to a dataset with a shorter name",
            )
