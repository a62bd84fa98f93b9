"""Whether a guest of vm-bhyve runs, by its processes and files."""

import os
import socket
from pathlib import Path

import pytest

from reconciler.drivers.command import Completed
from reconciler.drivers.guests import bhyve_process, vm_bhyve_state
from reconciler.drivers.guests.vm_bhyve_state import Processes, is_suspended, look, processes
from reconciler.errors import CommandFailed
from reconciler.model.observed import GuestState, Running

LOOP = " 11 I    /bin/sh /usr/local/sbin/vm _run web \n"
BHYVE = " 12 SC   bhyve: web (bhyve)\n"


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ps tells, to be filled by the test."""
    lines: list[str] = ["  1 Ss   /sbin/init\n"]
    monkeypatch.setattr(
        bhyve_process, "run", lambda _argv, timeout: Completed("".join(lines), str(timeout))
    )
    monkeypatch.setattr(vm_bhyve_state, "has_object", lambda _guest: False)
    return lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (BHYVE, Processes(bhyve=12)),
        (" 12 S    bhyve: web\n", Processes(bhyve=12)),
        (LOOP, Processes(loop=11)),
        (" 11 I    /bin/sh /usr/local/sbin/vm _run -tf web\n", Processes(loop=11)),
        (" 11 S    /usr/bin/python3 -IS /usr/local/sbin/vm _run web\n", Processes(loop=11)),
        (" 13 S    bhyve -s 0,hostbridge -c 1 -r /vm/web/web.save web\n", Processes(starting=13)),
        (" 13 S    /usr/sbin/bhyve -c 1 web\n", Processes(starting=13)),
        (" 14 S    bhyveload -c /dev/nmdm-web.1A -m 1G web\n", Processes(starting=14)),
        (" 14 S    /usr/local/sbin/grub-bhyve -M 1G web\n", Processes(starting=14)),
        (" 12 SC   bhyve: web2 (bhyve)\n", Processes()),
        (" 12 Z    bhyve: web (bhyve)\n", Processes()),
        (" 11 I    /bin/sh /usr/local/sbin/vm _run web2\n", Processes()),
        (" 11 I    /bin/sh /usr/local/sbin/vm start web\n", Processes()),
        (" 15 S    tmux new -ds web /usr/local/sbin/vm _run -tf web\n", Processes()),
        (" 16 S    vi /vm/web/web.conf\n", Processes()),
        (" 17 S    bhyve: db (bhyve)\n", Processes()),
        (" 18 S\n", Processes()),
        (" 19\n", Processes()),
        ("\n", Processes()),
    ],
)
def test_each_process_is_known_by_its_words(
    listing: list[str], line: str, expected: Processes
) -> None:
    listing.append(line)
    assert processes("web") == expected


def test_a_guest_runs_if_one_of_its_processes_is_there(listing: list[str], tmp_path: Path) -> None:
    assert look("web", str(tmp_path)) == GuestState(Running.OFF)
    listing.append(LOOP)
    proof = "vm-bhyve is starting or ending it (pid 11)"
    assert look("web", str(tmp_path)) == GuestState(Running.RUNNING, proof)
    listing.append(BHYVE)
    assert look("web", str(tmp_path)) == GuestState(Running.RUNNING, "bhyve (pid 12)")


def test_a_guest_of_another_host_is_unknown(listing: list[str], tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("otherhost\n")
    state = look("web", str(tmp_path))
    assert state.running is Running.UNKNOWN
    assert "run.lock says that it runs on otherhost" in state.proof
    (tmp_path / "run.lock").write_text(f"{socket.gethostname()}\n")
    assert look("web", str(tmp_path)).running is Running.OFF
    assert len(listing) == 1


def test_where_processes_may_be_hidden_a_guest_with_an_object_is_unknown(
    listing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_bhyve_state, "has_object", lambda _guest: True)
    assert look("web", str(tmp_path)).running is Running.OFF
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert "run as root" in look("web", str(tmp_path)).proof
    assert len(listing) == 1


def test_what_ps_cannot_tell_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Completed:
        raise CommandFailed(("ps",), 1, "no")

    monkeypatch.setattr(bhyve_process, "run", fail)
    assert look("web", str(tmp_path)) == GuestState(
        Running.UNKNOWN, "'ps' ended with exit code 1: no"
    )


def test_a_save_is_somebody_elses_unless_it_is_our_link(
    listing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_bhyve_state, "RUN", Path("/var/run/ckptree"))
    save = tmp_path / "web.save"
    assert not is_suspended("web", str(tmp_path))
    save.symlink_to("/var/run/ckptree/web.save")
    assert not is_suspended("web", str(tmp_path))
    save.unlink()
    save.symlink_to("/elsewhere/web.save")
    assert is_suspended("web", str(tmp_path))
    save.unlink()
    save.write_text("RAM")
    assert look("web", str(tmp_path)) == GuestState(Running.OFF, "suspended by 'vm suspend'")
    assert len(listing) == 1
