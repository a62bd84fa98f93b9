"""``ckptree status`` and ``ckptree tree`` as they are seen: with the daemon and without it, and as a page."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.cli import session, status, tree
from reconciler.cli.main import run
from reconciler.cli.session import Session
from reconciler.daemon.client import _PATIENCE
from reconciler.daemon.host import Observed
from reconciler.daemon.http import StatusServer
from reconciler.model.observed import HostIdentity
from reconciler.names import Dataset
from tests.support.reports import AT, busy_host
from tests.unit.render import scenarios

DOCUMENT = """\
vm: web
dataset: tank/vm/web
disks: [disk0.img]
checkpoints:
  base:
"""


@pytest.fixture
def host(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A host in memory with the VM web, whose guest is off; gives the path of its daemon's socket."""
    scene = scenarios.waits()
    observed = Observed(scene.vm, scene.world.hands(), scene.world.observe(scene.vm))
    folder = tmp_path / "vms.d"
    folder.mkdir(mode=0o755)
    (folder / "web.yaml").write_text(DOCUMENT)
    monkeypatch.setenv("CKPTREE_VMS", str(folder))
    monkeypatch.setattr(Session, "observe", lambda *_: (observed,))
    monkeypatch.setattr(Session, "released", lambda _: {Dataset("tank/vm/old"): "old"})
    monkeypatch.setattr(Session, "identity", HostIdentity("bsd07", "id"))
    for module in (session, status, tree):
        monkeypatch.setattr(module, "now", lambda: AT)
    socket_path = tmp_path_factory.mktemp("run") / "ckptree.sock"
    monkeypatch.setattr(paths, "SOCKET", socket_path)
    return socket_path


@pytest.fixture
def daemon(host: Path) -> Iterator[None]:
    """A daemon that fails on the VM web."""
    report = busy_host()
    failing = next(vm.doing for vm in report.vms if str(vm.status.vm) == "dns")
    web = next(vm for vm in report.vms if str(vm.status.vm) == "web")
    report = replace(report, vms=(replace(web, doing=failing),))
    server = StatusServer(lambda: report, host, None, lambda _: None)
    server.start()
    yield
    server.stop()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("command", ["status", "tree"])
def test_without_the_daemon(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([command])
    assert capsys.readouterr().out.splitlines()[-1] == "without the daemon"
    run([command, "--json"])
    assert json.loads(capsys.readouterr().out)["daemon"] is None


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("command", ["status", "tree"])
def test_with_the_daemon(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([command])
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing == "with the daemon (pid 71, last look 12 s ago)"
    run([command, "--json"])
    facts = json.loads(capsys.readouterr().out)["daemon"]
    assert facts == {"pid": 71, "last_pass": "2026-11-24T11:59:48Z", "problem": ""}


@pytest.mark.usefixtures("daemon")
def test_status_tells_what_the_daemon_does(capsys: pytest.CaptureFixture[str]) -> None:
    run(["status"])
    expected = "  the daemon: 4 failures in a row: tank/vm/dns/b-1: no space; next try in 40 s"
    assert expected in capsys.readouterr().out.splitlines()
    run(["status", "--json"])
    doing = json.loads(capsys.readouterr().out)["vms"][0]["doing"]
    assert (doing["work"], doing["failures"]) == ("backing-off", 4)


def test_a_daemon_that_hangs_is_said(
    host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _PATIENCE == 2.0
    monkeypatch.setattr("reconciler.daemon.client.ask.__defaults__", (0.1,))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
        hung.bind(str(host))
        hung.listen()
        assert run(["status"]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"the daemon at {host} does not answer within 0.1 s"


@pytest.mark.usefixtures("host")
def test_the_page_is_written_to_a_file_or_the_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    assert run(["tree", "--html", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert run(["tree", "--html"]) == 0
    text = capsys.readouterr().out
    assert text == file.read_text()
    assert text.startswith("<!doctype html>")
    assert '"vm":"web"' in text
    assert '"dataset":"tank/vm/old"' in text
    assert '"host":"bsd07"' in text


@pytest.mark.usefixtures("host")
def test_a_page_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tree", "--html", str(tmp_path / "nowhere" / "page.html")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["tree", "--html", "--json"]) == 1
    assert "exclude each other" in capsys.readouterr().err
