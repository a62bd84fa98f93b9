"""The real keeper and the real bhyve machine, with the programs of ``fake_bhyve`` in the folder of this file."""

import sys
from pathlib import Path

from reconciler.drivers import command
from reconciler.drivers.guests import bhyve_process
from reconciler.keeper import __main__ as keeper
from reconciler.keeper import server

if __name__ == "__main__":
    here = Path(__file__).parent
    setattr(command, "TRUSTED", (str(here), *command.TRUSTED))  # noqa: B010 - a tuple of another length
    bhyve_process.SOCKETS = here / "run"
    bhyve_process.OBJECTS = here / "vmm"
    server.LOOK_SECONDS = 0.1
    sys.exit(keeper.main())
