"""What every command needs: the documents, the host's ZFS, and the hands for each VM. Opened on first use.

Decides nothing about VMs. Commands print; this only warns on stderr.
"""

import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from reconciler import paths
from reconciler.daemon.host import Host, Observed
from reconciler.errors import CkptreeError, ExitCode
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import HostIdentity
from reconciler.model.plan import Plan, Restraint
from reconciler.names import Dataset
from reconciler.render.style import Style

if TYPE_CHECKING:
    from reconciler.drivers.zfs.choose import Choice
    from reconciler.source.contract import Source
    from reconciler.source.repository import GitSource
    from reconciler.spec.load import Loaded
    from reconciler.spec.settings import HostSettings

_WIDTH_OF_A_FILE = 100


@dataclass(frozen=True, slots=True)
class Options:
    """The global options as given; none is not given."""

    vms: Path | None
    config: Path | None
    zfs: str | None


class Session:
    """One run of the command."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @cached_property
    def settings(self) -> "HostSettings":
        """The host's own settings."""
        return self.read_settings()

    def read_settings(self) -> "HostSettings":
        """Read the host's own settings anew; raises CkptreeError."""
        from reconciler.spec.host import load_settings

        return load_settings(self._options.config)

    def open_source(self, settings: "HostSettings") -> "Source":
        """Open where the VM documents come from: --vms, or what SETTINGS say."""
        from reconciler.source.directory import DirectorySource
        from reconciler.source.ledger import Ledger
        from reconciler.source.repository import GitSource
        from reconciler.source.teller import CommandTeller

        if self._options.vms is not None or settings.source is None:
            return DirectorySource(self._options.vms or settings.vms or paths.VMS)
        ledger = Ledger(paths.STATE, now, CommandTeller(settings.notify.revision))
        return GitSource(settings.source, paths.STATE, ledger)

    @property
    def asked_path(self) -> Path | None:
        """Where the VM documents are, if --vms says it."""
        return self._options.vms

    @cached_property
    def source(self) -> "Source":
        """Where the VM documents come from."""
        return self.open_source(self.settings)

    @property
    def restraint(self) -> Restraint:
        """What must not be done now with the documents that were read."""
        return self.source.restraint_of(next((vm.revision for vm in self.loaded.vms), None))

    @property
    def repository(self) -> "GitSource":
        """The repository that the VM documents come from; raises CkptreeError if they come from elsewhere."""
        from reconciler.source.repository import GitSource

        source = self.source
        if not isinstance(source, GitSource):
            raise CkptreeError(
                f"the documents come from {source.place} and not from a repository (write 'source:' in ckptree.yaml)"
            )
        return source

    @cached_property
    def vms_path(self) -> Path:
        """Where the VM documents are; raises CkptreeError if they were not fetched yet."""
        path = self.source.path
        if path is None:
            problem = f": {self.source.problem}" if self.source.problem else ""
            raise CkptreeError(
                f"nothing of {self.source.place} is in force yet{problem} (run 'ckptree fetch')"
            )
        return path

    @cached_property
    def loaded(self) -> "Loaded":
        """The documents; faults are told on stderr, once."""
        from reconciler.spec.load import load_path, of_revision

        revision = self.source.revision
        loaded = load_path(self.vms_path)
        while revision != (after := self.source.revision):  # another one came while it was read
            revision, loaded = after, load_path(self.vms_path)
        loaded = of_revision(loaded, revision)
        for finding in loaded.findings:
            click.echo(str(finding), err=True)
        return loaded

    @cached_property
    def choice(self) -> "Choice":
        """The way in which ZFS is read and written, and why."""
        from reconciler.drivers.zfs.choose import choose

        asked = self._options.zfs or self.settings.zfs
        return choose(cast(Literal["auto", "pyzfs", "command"], asked))

    @cached_property
    def identity(self) -> HostIdentity:
        """Who this host is."""
        from reconciler.drivers.identity import this_host

        return this_host()

    @cached_property
    def host(self) -> Host:
        """This host, ready to be observed and worked on."""

        def say(text: str) -> None:
            click.echo(text, err=True)

        return Host(self.choice.zfs, self.identity, say)

    @property
    def by(self) -> str:
        """Who asks, for the journal."""
        user = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER")
        if user:
            return user
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return f"uid {os.getuid()}"

    @property
    def style(self) -> Style:
        """How to print on stdout."""
        terminal = sys.stdout.isatty()
        encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
        return Style(
            colour=terminal and not plain,
            unicode=encoding.startswith("utf") and os.environ.get("TERM") not in {"vt", "cons25"},
            width=shutil.get_terminal_size().columns if terminal else _WIDTH_OF_A_FILE,
        )

    def select(self, names: Sequence[str]) -> tuple[DesiredVm, ...]:
        """The VMs with NAMES, all for none; raises CkptreeError for a name that no valid document has."""
        by_name = {str(vm.vm): vm for vm in self.loaded.vms}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            near = get_close_matches(unknown[0], by_name, n=1)
            if self.loaded.findings:
                hint = "put right the faults above"
            else:
                hint = f"write {near[0]}" if near else "name a VM that a document describes"
            raise CkptreeError(
                f"no valid document in {self.vms_path} describes VM {unknown[0]} ({hint})"
            )
        return tuple(by_name[name] for name in names) if names else self.loaded.vms

    @property
    def faulty(self) -> bool:
        """Whether a document has faults."""
        return bool(self.loaded.findings)

    def observe(self, vms: Sequence[DesiredVm]) -> tuple[Observed, ...]:
        """Observe VMS with one reading of all their homes."""
        return self.host.observe(vms)

    def hands(self, vm: DesiredVm) -> Hands:
        """Make the hands for VM."""
        return self.host.hands(vm)

    def released(self) -> dict[Dataset, str]:
        """The homes on this host that no document describes, with the names of their VMs."""
        return self.host.released(self.loaded.vms)


def now() -> datetime:
    """The present moment, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def exit_code_of(plans: Sequence[Plan], *, faulty: bool) -> ExitCode:
    """One exit code for several plans: an error, then changes, then what is blocked."""
    codes = {plan.exit_code for plan in plans}
    if faulty:
        return ExitCode.ERROR
    for code in (ExitCode.CHANGES, ExitCode.BLOCKED):
        if code in codes:
            return code
    return ExitCode.NOTHING_TO_DO
