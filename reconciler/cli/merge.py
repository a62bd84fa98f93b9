"""What `ckptree plan --diff` does: tell what merging a revision would change, without a host and without ZFS."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from reconciler.errors import CkptreeError, ExitCode
from reconciler.plan.exported import Exported

_LARGEST = 1 << 30  # bytes of one file of observations


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `ckptree plan --diff`."""

    revisions: str
    repository: Path
    folder: str
    observations: Sequence[str]
    form: str
    vms: Sequence[str]


def show_merge(asked: Asked) -> ExitCode:
    """Print the report and give its exit code; raises CkptreeError."""
    from reconciler.render.merge_text import render_merge
    from reconciler.render.merge_view import merge_view
    from reconciler.source.revisions import read_change, split_range
    from reconciler.spec.load import load_bytes

    base, head = split_range(asked.revisions)
    exported = [one for file in asked.observations for one in _observations(file)]
    change = read_change(asked.repository, base, head, asked.folder)
    before, after = load_bytes(change.before), load_bytes(change.after)
    view = merge_view(base, head, before, after, exported)
    if asked.vms:
        unknown = set(asked.vms) - {str(vm.vm) for vm in view.vms}
        if unknown:
            raise CkptreeError(
                f"no valid document of {base} or {head} describes VM {min(unknown)} (name one that is described)"
            )
        view = replace(view, vms=tuple(vm for vm in view.vms if vm.vm in asked.vms))
    if asked.form == "json":
        body = {**view.to_json(), "commits": {"base": change.base, "head": change.head}}
        click.echo(json.dumps(body, indent=2))
    else:
        click.echo(render_merge(view), nl=False)
    return view.exit_code


def _observations(file: str) -> tuple[Exported, ...]:
    from reconciler.plan.exported import read_observations

    name = "the standard input" if file == "-" else file
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CkptreeError(
            f"{name}: cannot be read: {why} (name the output of 'ckptree tree --json')"
        ) from error
    if len(data) > _LARGEST:
        raise CkptreeError(f"{name}: is larger than 1 GiB (give each host's observation by itself)")
    try:
        return read_observations(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise CkptreeError(
            f"{name}: is not UTF-8 text (name the output of 'ckptree tree --json')"
        ) from error
