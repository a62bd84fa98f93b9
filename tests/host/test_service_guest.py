"""A guest that the daemon has started goes on when the service stops, and does not keep it from being started again.

The guest and its keeper are real; what the service runs starts them as ``ckptree run`` does.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.model.observed import Running
from tests.host.test_qemu_guest import Place, root  # noqa: F401 - a fixture
from tests.support.freebsd.host import FreeBsd, alive, eventually, text

CHECKOUT = Path(__file__).parents[2]
STARTS_THE_GUEST = """#!{python}
import os, signal, sys
from pathlib import Path
if sys.argv[1] == "validate":
    sys.exit(0)
sys.path.insert(0, {checkout!r})
from reconciler import paths
paths.RUN = Path({run!r})
from reconciler.model.observed import Running
from tests.host.test_qemu_guest import Place
place = Place.__new__(Place)
place.__dict__.update(home=Path({home!r}), vm="web", binary={binary!r}, arguments={arguments!r})
guest = place.guest()
if guest.state().running is Running.OFF:
    guest.start()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Path({up!r}).write_text(str(os.getpid()))
while True:
    signal.pause()
"""


@pytest.fixture
def host(root: Path, tmp_path: Path) -> Iterator[tuple[FreeBsd, Place]]:  # noqa: F811
    place = Place(root)
    made = FreeBsd(tmp_path)
    made.rc_conf("ckptree_enable=YES", "ckptree_restart_delay=1")
    (made.home / "ckptree").write_text(
        STARTS_THE_GUEST.format(
            python=sys.executable,
            checkout=str(CHECKOUT),
            run=str(paths.RUN),
            home=str(place.home),
            binary=place.binary,
            arguments=place.arguments,
            up=str(made.home / "up"),
        )
    )
    yield made, place
    made.end()


def test_a_guest_goes_on_when_the_service_stops(host: tuple[FreeBsd, Place]) -> None:
    service, place = host
    service.up()
    child, guest = service.child, place.pid
    assert service.service("stop").returncode == 0
    assert not alive(child)
    assert place.guest().state().running is Running.RUNNING
    assert place.pid == guest
    before = len(text(place.console))
    eventually(lambda: len(text(place.console)) > before)


def test_a_guest_does_not_keep_a_dead_daemon_from_being_started_again(
    host: tuple[FreeBsd, Place],
) -> None:
    service, place = host
    service.up()
    guest = place.pid
    (service.home / "up").unlink()
    os.kill(service.child, signal.SIGKILL)
    eventually(lambda: text(service.home / "up"))
    assert place.guest().state().running is Running.RUNNING
    assert place.pid == guest
