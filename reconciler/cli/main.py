"""The ``ckptree`` command: its global options, its commands, and the last line of defence against tracebacks.

A command's module is imported only when it runs: on a small host every import counts.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from reconciler import __version__, paths
from reconciler.cli.session import Options, Session
from reconciler.errors import CkptreeError, ExitCode

_COMMANDS = {
    "validate": "Check the VM documents; no host needed.",
    "plan": "Show what apply would do.",
    "apply": "Make what exists equal to the documents.",
    "tree": "Show the checkpoints that exist, those desired, and where each guest is.",
    "status": "Show how far each VM is.",
    "events": "Tell what happened to the VMs.",
    "explain": "Tell everything known of a VM or of one checkpoint, and what would help.",
    "take": "Take a checkpoint now that waits for a person, or an automatic one.",
    "start": "Start a guest that ckptree runs, from its memory where that fits its disks.",
    "stop": "Shut a guest down that ckptree runs.",
    "init": "Make a VM's home and first branch, or turn an existing dataset into one.",
    "purge": "Destroy a VM's retired checkpoints now, before their grace is over.",
    "approve": "Allow a removal, or the removals of a revision, that waits for approval.",
    "fetch": "Fetch the documents of the repository now; applies nothing.",
    "forget": "Let a lost checkpoint be taken anew under its name.",
    "take-over": "Make a home of another host this host's.",
    "run": "Be the daemon: follow every edit and commit, until a signal ends it.",
    "doctor": "Check this host, and tell which way ZFS is written.",
}


class _Commands(click.Group):
    """Finds each command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"reconciler.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.short_help = _COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ckptree", message="%(prog)s %(version)s")
@click.option(
    "--vms",
    type=click.Path(path_type=Path),
    envvar="CKPTREE_VMS",
    metavar="PATH",
    help=f"Directory or single file of VM documents (CKPTREE_VMS; default {paths.VMS}).",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="CKPTREE_CONFIG",
    metavar="FILE",
    help=f"The host's own settings (CKPTREE_CONFIG; default {paths.CONFIG}).",
)
@click.option(
    "--zfs",
    type=click.Choice(["auto", "pyzfs", "command"]),
    envvar="CKPTREE_ZFS",
    help="How ZFS is written (CKPTREE_ZFS; default auto: pyzfs where it works, else the zfs command).",
)
@click.pass_context
def _ckptree(
    context: click.Context, vms: Path | None, config: Path | None, zfs: str | None
) -> None:
    """Keep the checkpoint tree of every guest equal to the tree written in YAML.

    Exit codes of plan, apply and status: 0 nothing to do, 2 changes, 3 blocked or waiting for a person, 1 error.
    """
    context.obj = Session(Options(vms=vms, config=config, zfs=zfs))


def run(arguments: Sequence[str]) -> int:
    """Run the command line ARGUMENTS and give the exit code; never raises."""
    try:
        code = _ckptree.main(list(arguments), prog_name="ckptree", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        # Not click's own exit code 2: that one means "changes".
        return _fail(error.format_message())
    except CkptreeError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; 'ckptree apply' goes on where this ended")
    except BrokenPipeError:
        # The reader (head, less) has gone; what would still be flushed at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ERROR
    except Exception as error:
        if os.environ.get("CKPTREE_DEBUG"):
            raise
        return _fail(
            f"internal error ({type(error).__name__}: {error}); please report it with the output of the same"
            " command under CKPTREE_DEBUG=1"
        )
    return int(code) if isinstance(code, int) else ExitCode.NOTHING_TO_DO


def _fail(text: str) -> int:
    click.echo(f"ckptree: {text}", err=True)
    return ExitCode.ERROR
