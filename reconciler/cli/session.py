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
from reconciler.contracts.journal import Journal
from reconciler.contracts.perform import Place
from reconciler.errors import CkptreeError, ExitCode
from reconciler.execute.executor import Hands
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import HostIdentity, Observation
from reconciler.model.plan import Plan
from reconciler.names import Dataset
from reconciler.render.style import Style

if TYPE_CHECKING:
    from reconciler.drivers.zfs.choose import Choice
    from reconciler.spec.load import Loaded
    from reconciler.spec.settings import HostSettings

_WIDTH_OF_A_FILE = 100


@dataclass(frozen=True, slots=True)
class Options:
    """The global options as given; none is not given."""

    vms: Path | None
    config: Path | None
    zfs: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    """One VM: its document, the hands for it, and what was observed."""

    desired: DesiredVm
    hands: Hands
    observation: Observation


class Session:
    """One run of the command."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @cached_property
    def settings(self) -> "HostSettings":
        """The host's own settings."""
        from reconciler.spec.host import load_settings

        return load_settings(self._options.config)

    @cached_property
    def vms_path(self) -> Path:
        """Where the VM documents are."""
        return self._options.vms or self.settings.vms or paths.VMS

    @cached_property
    def loaded(self) -> "Loaded":
        """The documents; faults are told on stderr, once."""
        from reconciler.spec.load import load_path

        loaded = load_path(self.vms_path)
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
        from reconciler.observe.observer import observe, read_homes

        readings = read_homes(vms, self.choice.zfs)
        found = []
        for vm in vms:
            reading = readings[vm.dataset]
            home = reading.dataset(vm.dataset)
            hands = self._hands(vm, home.mountpoint if home is not None and home.mounted else None)
            seen = observe(
                vm, hands.zfs, hands.files, hands.guest, hands.journal, self.identity, reading
            )
            found.append(Observed(vm, hands, seen))
        return tuple(found)

    def hands(self, vm: DesiredVm) -> Hands:
        """Make the hands for VM."""
        return self._hands(vm, self.choice.zfs.mounted_at(vm.dataset))

    def released(self) -> dict[Dataset, str]:
        """The homes on this host that no document describes, with the names of their VMs."""
        described = {vm.dataset for vm in self.loaded.vms}
        homes = self.choice.zfs.homes().items()
        return {home: name for home, name in homes if home not in described}

    def _hands(self, vm: DesiredVm, path: str | None) -> Hands:
        from reconciler.drivers.files import RealFiles
        from reconciler.drivers.guests.choose import guest_of
        from reconciler.drivers.journal import FileJournal, NoJournal

        def waiting(text: str) -> None:
            click.echo(f"{vm.vm}: {text}", err=True)

        journal: Journal = NoJournal(f"{vm.dataset} is not mounted")
        if path is not None:
            journal = FileJournal(path, waiting)
        place = Place(vm.vm, vm.dataset, path or f"/{vm.dataset}")
        guest = guest_of(vm, place.path)
        return Hands(self.choice.zfs, RealFiles(), guest, journal, place)


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
