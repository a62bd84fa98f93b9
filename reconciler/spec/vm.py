"""One document: from the syntax tree to typed values, section by section."""

from datetime import timedelta

from reconciler.model.desired import (
    Bhyve,
    Command,
    Disk,
    FileDisk,
    Hook,
    Hooks,
    Hypervisor,
    MemoryWish,
    Prune,
    PruneMode,
    Qemu,
    RestorePolicy,
    Schedule,
    Unmanaged,
    Unsaved,
    VmBhyve,
    VolumeDisk,
    WhenRunning,
)
from reconciler.names import Dataset, NodeName, VmName, branch_number
from reconciler.spec.document import Document, Placed
from reconciler.spec.findings import excerpt
from reconciler.spec.nodes import read_nodes
from reconciler.spec.read import Reader
from reconciler.spec.scalars import Kind, kind
from reconciler.spec.syntax import MappingNode, ScalarNode, SequenceNode
from reconciler.spec.windows import read_windows

_LEAST_INTERVAL = timedelta(minutes=1)
_LEAST_TIME = timedelta(seconds=1)


def read_document(reader: Reader, root: MappingNode, file: str) -> Document:
    """Read all of ROOT; faults are with READER."""
    vm = reader.scalar(root, "vm")
    name = reader.name(vm, VmName)
    current = reader.scalar(root, "current")
    position = reader.name(current, NodeName)
    return Document(
        file=file,
        vm=Placed(name, vm.position) if vm and name else None,
        dataset=_dataset(reader, root),
        disks=_disks(reader, root),
        nodes=read_nodes(reader, reader.section(root, "checkpoints")),
        current=Placed(position, current.position) if current and position else None,
        hypervisor=_hypervisor(reader, root, name),
        prune=_prune(reader, root),
        restore=_restore(reader, root),
        hooks=_hooks(reader, root),
        schedule=_schedule(reader, root),
        windows=read_windows(reader, root.get("windows")),
        host=reader.text(root, "host"),
        suspend=reader.flag(root, "suspend"),
    )


def _dataset(reader: Reader, root: MappingNode) -> Placed[Dataset] | None:
    node = reader.scalar(root, "dataset")
    dataset = reader.name(node, Dataset)
    if node is None or dataset is None:
        return None
    if dataset.parent is None:
        message = f"{excerpt(dataset)} is a pool, and a VM needs a filesystem below one"
        reader.fault(node.position, message, f"write {dataset}/vm/NAME")
    elif branch_number(dataset.leaf) is not None:
        message = f"{excerpt(dataset.leaf)} is the name of a branch, and a home is none"
        reader.fault(node.position, message, "write the dataset above it, or another name")
    return Placed(dataset, node.position)


def _disks(reader: Reader, root: MappingNode) -> tuple[Placed[Disk], ...]:
    node = root.get("disks")
    disks: list[Placed[Disk]] = []
    for item in node.items if isinstance(node, SequenceNode) else ():
        match item:
            case ScalarNode() if kind(item) is Kind.TEXT:
                path = reader.relative_path(item)
                if path is not None:
                    disks.append(Placed(FileDisk(path), item.position))
            case MappingNode():
                name = reader.text(item, "zvol")
                if name is not None:
                    disks.append(Placed(VolumeDisk(name), item.position))
            case _:
                pass
    return tuple(disks)


def _hypervisor(reader: Reader, root: MappingNode, vm: VmName | None) -> Hypervisor:
    section = reader.section(root, "hypervisor")
    if section is None or len(section.entries) != 1:
        return Unmanaged()
    chosen = section.entries[0].key.text
    keys = reader.section(section, chosen)
    mode = reader.text(keys, "mode") or "auto"
    match chosen:
        case "bhyve":
            return Bhyve(
                config=reader.relative_path(reader.scalar(keys, "config")),
                args=reader.arguments(keys, "args"),
                loader=reader.command(keys, "loader"),
                mode=mode,
            )
        case "vm-bhyve":
            return VmBhyve(guest=reader.text(keys, "guest") or vm or "", mode=mode)
        case "qemu":
            args, binary = reader.arguments(keys, "args"), reader.text(keys, "binary")
            return Qemu(args=args, binary=binary) if binary else Qemu(args=args)
        case "command":
            return Command(
                start=reader.command(keys, "start"),
                stop=reader.command(keys, "stop"),
                running=reader.command(keys, "running"),
                save=reader.command(keys, "save"),
            )
        case _:
            return Unmanaged()


def _prune(reader: Reader, root: MappingNode) -> Prune:
    section = reader.section(root, "prune")
    standard = Prune()
    grace = reader.duration(section, "grace")
    limit = reader.whole(section, "limit")
    return Prune(
        mode=reader.choice(section, "mode", PruneMode) or standard.mode,
        grace=standard.grace if grace is None else grace,
        limit=standard.limit if limit is None else limit,
    )


def _restore(reader: Reader, root: MappingNode) -> RestorePolicy:
    section = reader.section(root, "restore")
    standard = RestorePolicy()
    return RestorePolicy(
        again=_token(reader, section),
        unsaved=reader.choice(section, "unsaved", Unsaved) or standard.unsaved,
        running=reader.choice(section, "running", WhenRunning) or standard.running,
    )


def _token(reader: Reader, section: MappingNode | None) -> str | None:
    node = section.get("again") if section else None
    if isinstance(node, ScalarNode) and kind(node) in {Kind.TEXT, Kind.INTEGER, Kind.DATE}:
        return reader.line(node)
    return None


def _hooks(reader: Reader, root: MappingNode) -> Hooks:
    section = reader.section(root, "hooks")
    return Hooks(
        before_checkpoint=_hook(reader, section, "before-checkpoint"),
        after_checkpoint=_hook(reader, section, "after-checkpoint"),
        before_restore=_hook(reader, section, "before-restore"),
        after_restore=_hook(reader, section, "after-restore"),
    )


def _hook(reader: Reader, section: MappingNode | None, key: str) -> Hook | None:
    keys = reader.section(section, key)
    run = reader.command(keys, "run")
    timeout = reader.duration(keys, "timeout", _LEAST_TIME)
    if not run:
        return None
    return Hook(run=run) if timeout is None else Hook(run=run, timeout=timeout)


def _schedule(reader: Reader, root: MappingNode) -> Schedule | None:
    section = reader.section(root, "schedule")
    every = reader.duration(section, "every", _LEAST_INTERVAL)
    keep = reader.duration(section, "keep", _LEAST_TIME)
    memory = reader.choice(section, "memory", MemoryWish) or MemoryWish.NEVER
    if every is None or keep is None:
        return None
    return Schedule(every=every, keep=keep, memory=memory)
