"""``ckptree validate``: every fault of the documents at once; needs no host."""

import json
from pathlib import Path

import click

from reconciler.cli.session import Session
from reconciler.errors import ExitCode
from reconciler.spec.findings import Finding, as_annotation, as_json
from reconciler.spec.load import load_paths


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE...]")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.pass_obj
def command(session: Session, files: tuple[Path, ...], form: str) -> ExitCode:
    """Check FILEs or directories of VM documents, by default those of --vms. Exit code 1 if there is a fault."""
    loaded = load_paths(files or (session.vms_path,))
    if form == "json":
        body = {
            "valid": not loaded.findings,
            "vms": [str(vm.vm) for vm in loaded.vms],
            "empty": list(loaded.empty),
            "findings": [as_json(finding) for finding in loaded.findings],
        }
        click.echo(json.dumps(body, indent=2))
    elif form == "github":
        for finding in loaded.findings:
            click.echo(as_annotation(finding))
    else:
        _print_text(loaded.findings, len(loaded.vms), loaded.empty)
    return ExitCode.ERROR if loaded.findings else ExitCode.NOTHING_TO_DO


def _print_text(findings: tuple[Finding, ...], valid: int, empty: tuple[str, ...]) -> None:
    for finding in findings:
        click.echo(str(finding))
    for file in empty:
        click.echo(f"{file}: no document; its VM is released, nothing of it is destroyed")
    faults = f"{len(findings)} fault{'' if len(findings) == 1 else 's'}"
    click.echo(f"{valid} valid VM{'' if valid == 1 else 's'}, {faults}")
