"""The way in: the text of one document, or the files of a host, to desired VMs and findings.

One file's faults never hide another file, and a file that cannot be trusted (others may write to
it) is a fault like any other. Nothing is kept between two calls: which revision stays in force when
a file becomes invalid is the caller's knowledge.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.errors import CkptreeError
from reconciler.model.desired import DesiredVm, SourcePosition
from reconciler.spec.across import check_together
from reconciler.spec.checks import check_document
from reconciler.spec.document import Document
from reconciler.spec.file import reason, trusted_bytes
from reconciler.spec.findings import Finding
from reconciler.spec.parse import parse
from reconciler.spec.read import Reader
from reconciler.spec.schema import Schema, check
from reconciler.spec.syntax import MappingNode, empty
from reconciler.spec.text import decode
from reconciler.spec.vm import read_document

SUFFIXES = (".yaml", ".yml")
_MOST_FINDINGS = 200


@dataclass(frozen=True, slots=True)
class Loaded:
    """The valid VMs, every fault of the other files, and the files without a document."""

    vms: tuple[DesiredVm, ...]
    findings: tuple[Finding, ...]
    empty: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one file; without a document and findings it was empty."""

    file: str
    document: Document | None
    vm: DesiredVm | None
    findings: tuple[Finding, ...]


def load_text(text: str | bytes, file: str) -> DesiredVm | tuple[Finding, ...]:
    """Load one document; FILE is for the findings. An empty document gives no findings: ``()``."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    outcome = _read(data, file)
    return outcome.vm or outcome.findings


def of_revision(loaded: Loaded, revision: str | None) -> Loaded:
    """Mark what was LOADED as of REVISION of a repository."""
    return replace(loaded, vms=tuple(replace(vm, revision=revision) for vm in loaded.vms))


def load_path(path: Path) -> Loaded:
    """Load PATH: a file, or the ``*.yaml`` and ``*.yml`` of a folder (not of those below it).

    Raises CkptreeError where PATH is not there, or cannot be trusted as a whole.
    """
    return load_paths([path])


def load_paths(paths: Sequence[Path]) -> Loaded:
    """Load several files and folders as if they were one folder."""
    files = dict.fromkeys(file for path in paths for file in _files(path))
    return _loaded([_read_file(file) for file in files])


def load_bytes(files: Mapping[str, bytes | tuple[str, str]]) -> Loaded:
    """Load FILES by name as if they were one folder; instead of its bytes, one may say what is wrong and what to do."""
    return _loaded([_of_bytes(data, file) for file, data in files.items()])


def _loaded(outcomes: Sequence[_Outcome]) -> Loaded:
    together = check_together([one.document for one in outcomes if one.document])
    clashing = {finding.position.file for finding in together}
    return Loaded(
        vms=tuple(one.vm for one in outcomes if one.vm and one.file not in clashing),
        findings=tuple(sorted([*together, *(found for one in outcomes for found in one.findings)])),
        empty=tuple(one.file for one in outcomes if not one.vm and not one.findings),
    )


def _files(path: Path) -> list[Path]:
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return [path]
        names = sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError:
        raise CkptreeError(
            f"{path}: no such file or folder (name the VM documents with --vms, or create it)"
        ) from None
    except (OSError, ValueError) as error:
        raise CkptreeError(f"{path}: cannot be read: {reason(error)}") from None
    if status.st_mode & stat.S_IWOTH:
        raise CkptreeError(
            f"{path}: everybody may write to this folder (take that right away with chmod o-w)"
        )
    return [
        path / name for name in names if name.endswith(SUFFIXES) and not name.startswith((".", "#"))
    ]


def _read_file(path: Path) -> _Outcome:
    file = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _of_bytes(trusted_bytes(path), file)


def _of_bytes(data: bytes | tuple[str, str], file: str) -> _Outcome:
    if isinstance(data, bytes):
        return _read(data, file)
    message, hint = data
    return _Outcome(file, None, None, (Finding(SourcePosition(file, 1, 1), message, hint),))


def _read(data: bytes, file: str) -> _Outcome:
    text = decode(data, file)
    if not isinstance(text, str):
        return _Outcome(file, None, None, _bounded(text))
    parsed = parse(text, file)
    root = parsed.root
    if root is None or (empty(root) and parsed.findings):
        return _Outcome(file, None, None, _bounded(parsed.findings))
    if empty(root):
        return _Outcome(file, None, None, ())
    known = (*parsed.findings, *check(root, Schema.VM))
    if not isinstance(root, MappingNode):
        return _Outcome(file, None, None, _bounded(known))
    reader = Reader(known)
    document = read_document(reader, root, file)
    findings = {*known, *reader.findings, *check_document(document)}
    vm = None if findings else _vm(document, hashlib.sha256(data).hexdigest())
    return _Outcome(file, document, vm, _bounded(tuple(sorted(findings))))


def _vm(document: Document, digest: str) -> DesiredVm:
    if document.vm is None or document.dataset is None:
        # Never to be taken for an empty document, which releases its VM.
        raise AssertionError("a document without faults has a name and a dataset")
    return DesiredVm(
        vm=document.vm.value,
        dataset=document.dataset.value,
        disks=tuple(disk.value for disk in document.disks),
        nodes=tuple(placed.node for placed in document.nodes),
        position=document.vm.position,
        digest=digest,
        hypervisor=document.hypervisor,
        current=document.current.value if document.current else None,
        prune=document.prune,
        restore=document.restore,
        hooks=document.hooks,
        schedule=document.schedule,
        windows=document.windows,
        host=document.host,
        suspend=document.suspend,
    )


def _bounded(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Cut off what nobody would read, and say so."""
    if len(findings) <= _MOST_FINDINGS:
        return findings
    shown = findings[:_MOST_FINDINGS]
    rest = len(findings) - len(shown)
    return (
        *shown,
        Finding(shown[-1].position, f"and {rest} more faults after this", "start above"),
    )
