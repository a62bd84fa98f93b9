"""The host's own settings, ``ckptree.yaml``: all optional, and as strictly read as the VM documents."""

from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path

from reconciler import paths
from reconciler.errors import CkptreeError
from reconciler.spec.findings import Finding, SpecInvalid, excerpt
from reconciler.spec.parse import parse
from reconciler.spec.read import Reader
from reconciler.spec.scalars import parse_duration
from reconciler.spec.settings import HostSettings
from reconciler.spec.syntax import MappingNode, empty
from reconciler.spec.text import decode

WRITE_PATHS = ("auto", "pyzfs", "command")
_KEYS = ("vms", "zfs", "group-wait")
_LEAST_WAIT = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(hours=1)  # drivers.guests.client: the longest hold
_STANDARD_WAIT = timedelta(seconds=60)


def load_settings(path: Path | None) -> HostSettings:
    """Read the settings at PATH; without one those at the default place, if there are any.

    Raises CkptreeError if PATH cannot be read, SpecInvalid with every fault in it.
    """
    file = path or paths.CONFIG
    try:
        data = file.read_bytes()
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return HostSettings()
        raise CkptreeError(f"{file}: the settings cannot be read: {error.strerror}") from error
    text = decode(data, str(file))
    if not isinstance(text, str):
        raise SpecInvalid(text)
    parsed = parse(text, str(file))
    if parsed.root is None or empty(parsed.root):
        return _checked(HostSettings(), parsed.findings)
    if not isinstance(parsed.root, MappingNode):
        fault = Finding(parsed.root.position, "these are no settings", "write 'zfs: auto'")
        raise SpecInvalid((*parsed.findings, fault))
    return _read(parsed.root, parsed.findings)


def _read(root: MappingNode, known: tuple[Finding, ...]) -> HostSettings:
    reader = Reader(known)
    for entry in root.entries:
        if entry.key.text not in _KEYS:
            near = get_close_matches(entry.key.text, _KEYS, n=1)
            hint = f"write '{near[0]}'" if near else f"the keys are {', '.join(_KEYS)}"
            reader.fault(entry.key.position, f"unknown key {excerpt(entry.key.text)}", hint)
        elif reader.text(root, entry.key.text) is None:
            reader.fault(entry.key.position, f"'{entry.key.text}' has no text", "write a word")
    zfs = reader.scalar(root, "zfs")
    if zfs is not None and zfs.text not in WRITE_PATHS:
        message = f"{excerpt(zfs.text)} is no way to write ZFS"
        reader.fault(zfs.position, message, f"write one of {', '.join(WRITE_PATHS)}")
    vms = reader.scalar(root, "vms")
    if vms is not None and not vms.text.startswith("/"):
        reader.fault(
            vms.position, f"{excerpt(vms.text)} is a relative path", "write the whole path"
        )
    wait = reader.scalar(root, "group-wait")
    group_wait = None
    if wait is not None and parse_duration(wait.text) is not None:
        group_wait = reader.duration(root, "group-wait", _LEAST_WAIT)
    elif wait is not None:
        message = f"{excerpt(wait.text)} is no duration"
        reader.fault(wait.position, message, "write a number with a unit, for example 60s or 2m")
    if group_wait is not None and group_wait > _LONGEST_WAIT:
        message = f"{excerpt(wait.text if wait else '')} is longer than any guest is held frozen"
        reader.fault((wait or root).position, message, "write at most 1h")
    settings = HostSettings(
        vms=None if vms is None else Path(vms.text),
        zfs="auto" if zfs is None else zfs.text,
        group_wait=group_wait or _STANDARD_WAIT,
    )
    return _checked(settings, (*known, *reader.findings))


def _checked(settings: HostSettings, findings: tuple[Finding, ...]) -> HostSettings:
    if findings:
        raise SpecInvalid(findings)
    return settings
