"""The host's own settings, ``ckptree.yaml``: all optional, and as strictly read as the VM documents.

``schema`` says what is wrong with the shape, this what is wrong with the values; nothing here looks at the host.
"""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from reconciler import paths
from reconciler.errors import CkptreeError
from reconciler.model.desired import SourcePosition
from reconciler.spec.file import trusted_bytes
from reconciler.spec.findings import Finding, SpecInvalid, excerpt
from reconciler.spec.parse import parse
from reconciler.spec.read import Reader
from reconciler.spec.schema import Schema, check
from reconciler.spec.settings import GitSource, HostSettings, Notify, Signers
from reconciler.spec.syntax import MappingNode, empty
from reconciler.spec.text import decode
from reconciler.spec.windows import read_windows

_WAIT = timedelta(seconds=1), timedelta(hours=1)  # drivers.guests.client: the longest hold
_INTERVAL = timedelta(seconds=10), timedelta(days=1)
_EVERY = timedelta(seconds=5), timedelta(days=1)
_CHANGED_ON_THE_WAY = ("http://", "git://")
_HIGHEST_PORT = 65535


def load_settings(path: Path | None) -> HostSettings:
    """Read the settings at PATH; without one those at the default place, if there are any.

    Raises CkptreeError if PATH is not there, SpecInvalid with every fault in it.
    """
    file = path or paths.CONFIG
    if not file.exists():
        if path is None:
            return HostSettings()
        raise CkptreeError(
            f"{file}: the settings are not there (name their file with --config, or leave that out)"
        )
    return settings_of(trusted_bytes(file), str(file))


def settings_of(data: bytes | tuple[str, str], file: str) -> HostSettings:
    """Read the settings from DATA, or from what ``trusted_bytes`` says instead; FILE is for the findings.

    Raises SpecInvalid with every fault.
    """
    if not isinstance(data, bytes):
        raise SpecInvalid((Finding(SourcePosition(file, 1, 1), *data),))
    text = decode(data, file)
    if not isinstance(text, str):
        raise SpecInvalid(text)
    parsed = parse(text, file)
    root, known = parsed.root, parsed.findings
    settings = HostSettings()
    if root is not None and not empty(root):
        known = (*known, *check(root, Schema.HOST))
        if isinstance(root, MappingNode):
            reader = Reader(known)
            settings = _read(reader, root)
            known = (*known, *reader.findings)
    if known:
        raise SpecInvalid(tuple(set(known)))
    return settings


def _read(reader: Reader, root: MappingNode) -> HostSettings:
    standard = HostSettings()
    vms = reader.text(root, "vms")
    group_wait = _duration(reader, root, "group-wait", _WAIT)
    interval = _duration(reader, root, "interval", _INTERVAL)
    return HostSettings(
        vms=None if vms is None else Path(vms),
        zfs=reader.text(root, "zfs") or standard.zfs,
        group_wait=standard.group_wait if group_wait is None else group_wait,
        interval=standard.interval if interval is None else interval,
        source=_git(reader, reader.section(reader.section(root, "source"), "git")),
        listen=_listen(reader, root),
        notify=_notify(reader, reader.section(root, "notify")),
        windows=read_windows(reader, root.get("windows")),
    )


def _duration(
    reader: Reader, mapping: MappingNode | None, key: str, bounds: tuple[timedelta, timedelta]
) -> timedelta | None:
    least, most = bounds
    duration = reader.duration(mapping, key, least)
    node = reader.scalar(mapping, key)
    if duration is not None and node is not None and duration > most:
        message = f"{excerpt(node.text)} is too long for '{key}'"
        reader.fault(node.position, message, f"write at most {_words(most)}")
        return None
    return duration


def _words(duration: timedelta) -> str:
    return f"{duration.days}d" if duration.days else f"{duration // timedelta(hours=1)}h"


def _git(reader: Reader, section: MappingNode | None) -> GitSource | None:
    url = reader.scalar(section, "url")
    if section is None or url is None:
        return None
    standard = GitSource(url=url.text)
    every = _duration(reader, section, "every", _EVERY)
    verify = _signers(reader, section, "verify")
    if verify is None and url.text.startswith(_CHANGED_ON_THE_WAY):
        message = f"anybody on the way can change what comes from {excerpt(url.text)}"
        reader.fault(url.position, message, "write https:// or ssh://, or add 'verify'")
    return GitSource(
        url=url.text,
        branch=reader.text(section, "branch") or standard.branch,
        path=reader.relative_path(reader.scalar(section, "path")) or standard.path,
        every=standard.every if every is None else every,
        verify=verify,
        destructive=_signers(reader, section, "destructive"),
    )


def _signers(reader: Reader, mapping: MappingNode, key: str) -> Signers | None:
    section = reader.section(mapping, key)
    ssh, gpg = reader.text(section, "ssh"), reader.text(section, "gpg")
    if ssh is None and gpg is None:
        return None
    return Signers(ssh=Path(ssh) if ssh else None, gpg=Path(gpg) if gpg else None)


def _listen(reader: Reader, root: MappingNode) -> tuple[str, int] | None:
    node = reader.scalar(root, "listen")
    if node is None:
        return None
    host, _, port = node.text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = False
    if not (here and port.isascii() and port.isdecimal() and 0 < int(port) <= _HIGHEST_PORT):
        message = f"{excerpt(node.text)} is not an address of this host itself with a port"
        reader.fault(node.position, message, "write for example 127.0.0.1:8470")
        return None
    return host, int(port)


def _notify(reader: Reader, section: MappingNode | None) -> Notify:
    facility = reader.text(section, "syslog") or Notify().facility
    return Notify(
        facility=None if facility == "none" else facility,
        command=reader.command(section, "command"),
        webhook=reader.text(section, "webhook"),
        revision=reader.command(section, "revision"),
    )
