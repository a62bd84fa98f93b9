"""``ckptree validate``: every fault of the settings and the documents at once; needs no host."""

import json
from pathlib import Path

import click

from reconciler import paths
from reconciler.cli.session import Session
from reconciler.errors import ExitCode
from reconciler.spec.findings import Finding, SpecInvalid, as_annotation, as_json
from reconciler.spec.host import load_settings
from reconciler.spec.load import Loaded, load_paths

_NOTHING = Loaded((), (), ())


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE...]")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.pass_obj
def command(session: Session, files: tuple[Path, ...], form: str) -> ExitCode:
    """Check FILEs or directories of VM documents; without any, the host's settings and the documents in force.

    A FILE with the name ckptree.yaml is checked as the settings of a host. Exit code 1 if there is a fault.
    """
    loaded, found, note = _of_files(files) if files else _of_the_host(session)
    findings = tuple(sorted((*found, *loaded.findings)))
    if form == "json":
        body = {
            "valid": not findings,
            "vms": [str(vm.vm) for vm in loaded.vms],
            "empty": list(loaded.empty),
            "findings": [as_json(finding) for finding in findings],
        }
        click.echo(json.dumps(body, indent=2))
    elif form == "github":
        for finding in findings:
            click.echo(as_annotation(finding))
    else:
        _print_text(findings, len(loaded.vms), loaded.empty, note)
    return ExitCode.ERROR if findings else ExitCode.NOTHING_TO_DO


def _of_files(files: tuple[Path, ...]) -> tuple[Loaded, tuple[Finding, ...], str]:
    settings = [file for file in files if file.name == paths.CONFIG.name and not file.is_dir()]
    found: tuple[Finding, ...] = ()
    for file in settings:
        try:
            load_settings(file)
        except SpecInvalid as error:
            found += error.findings
    documents = [file for file in files if file not in settings]
    return load_paths(documents), found, ""


def _of_the_host(session: Session) -> tuple[Loaded, tuple[Finding, ...], str]:
    """Check the settings, and the documents that they name; gives a note besides where there are none yet."""
    try:
        source = session.source
    except SpecInvalid as error:
        # Where the documents are is among what is faulty, unless it was said.
        asked = session.asked_path
        return _NOTHING if asked is None else load_paths((asked,)), error.findings, ""
    if source.path is None:
        note = f"{source.place}: nothing is in force yet, so only the settings were checked"
        return _NOTHING, (), note
    return load_paths((source.path,)), (), ""


def _print_text(
    findings: tuple[Finding, ...], valid: int, empty: tuple[str, ...], note: str
) -> None:
    for finding in findings:
        click.echo(str(finding))
    for file in empty:
        click.echo(f"{file}: no document; its VM is released, nothing of it is destroyed")
    if note:
        click.echo(note)
    faults = f"{len(findings)} fault{'' if len(findings) == 1 else 's'}"
    click.echo(f"{valid} valid VM{'' if valid == 1 else 's'}, {faults}")
