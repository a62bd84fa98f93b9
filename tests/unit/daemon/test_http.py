"""The daemon's doors: what each answers, and what is turned away. Real sockets, in a folder of the test."""

import gzip
import http.client
import json
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPResponse
from pathlib import Path

import pytest

from reconciler.daemon import http as doors
from reconciler.daemon.client import DaemonMute, ask, look_again, presence
from reconciler.daemon.http import StatusServer
from reconciler.errors import CkptreeError
from reconciler.render.host_view import HostReport, Work
from tests.support.reports import AT, busy_host

LOOPBACK = ("127.0.0.1", 0)


class Host:
    """A host whose report can be exchanged, and that notes who asked for another look."""

    def __init__(self) -> None:
        self.shown: HostReport = busy_host()
        self.asked: list[str] = []
        self.refusal = ""

    def report(self) -> HostReport:
        return self.shown

    def look_again(self, vm: str) -> None:
        if self.refusal:
            raise CkptreeError(self.refusal)
        self.asked.append(vm)


@pytest.fixture(scope="module")
def one_host() -> Host:
    return Host()


@pytest.fixture
def host(one_host: Host) -> Host:
    """The host of the module, as if it were new: a server takes half a second to end."""
    vars(one_host).clear()
    one_host.__init__()  # type: ignore[misc]
    return one_host


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")  # short enough for a socket


@pytest.fixture(scope="module")
def running(one_host: Host, folder: Path) -> Iterator[StatusServer]:
    made = StatusServer(one_host.report, folder / "ckptree.sock", LOOPBACK, one_host.look_again)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def server(running: StatusServer, host: Host) -> StatusServer:
    assert host.shown
    return running


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for a socket on which nothing of this module listens."""
    return tmp_path_factory.mktemp("run") / "ckptree.sock"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def until(holds: Callable[[], bool]) -> None:
    """Wait, but not for ever, for something that another thread does."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


Asks = Callable[..., tuple[HTTPResponse, bytes]]


@pytest.fixture(params=["unix", "tcp"])
def door(request: pytest.FixtureRequest, server: StatusServer, folder: Path) -> Asks:
    return _asks(server, folder, request.param)


@pytest.fixture
def unix(server: StatusServer, folder: Path) -> Asks:
    return _asks(server, folder, "unix")


@pytest.fixture
def tcp(server: StatusServer, folder: Path) -> Asks:
    return _asks(server, folder, "tcp")


def _asks(server: StatusServer, folder: Path, kind: str) -> Asks:
    def ask_for(
        path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        made = UnixConnection(folder / "ckptree.sock")
        connection = (
            made if kind == "unix" else http.client.HTTPConnection("127.0.0.1", server.port)
        )
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response, answer

    return ask_for


def test_the_page(door: Asks) -> None:
    response, body = door("/")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert b'data-live="yes"' in body


def test_the_status_is_the_report(door: Asks) -> None:
    response, body = door("/status.json")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body) == busy_host().to_json()


def test_the_tag_stays_for_as_long_as_nothing_but_the_moment_differs(
    host: Host, door: Asks
) -> None:
    tag = door("/status.json")[0].headers["ETag"]
    host.shown = replace(host.shown, at=AT + timedelta(minutes=1))
    response, body = door("/status.json", If_None_Match=tag)
    assert (response.status, body) == (304, b"")
    assert response.headers["ETag"] == tag
    host.shown = replace(host.shown, vms=host.shown.vms[1:])
    response, body = door("/status.json", If_None_Match=tag)
    assert response.status == 200
    assert response.headers["ETag"] != tag
    assert len(json.loads(body)["vms"]) == len(host.shown.vms)


def test_a_vm_is_written_anew_when_its_report_is_another(host: Host, unix: Asks) -> None:
    unix("/status.json")
    first = host.shown.vms[0]
    changed = replace(first, status=replace(first.status, unsaved=12345))
    host.shown = replace(host.shown, vms=(changed, *host.shown.vms[1:]))
    body = json.loads(unix("/status.json")[1])
    assert body["vms"][0]["status"]["unsaved_bytes"] == 12345


def test_long_answers_are_packed_for_those_who_can_unpack(door: Asks) -> None:
    response, body = door("/status.json", Accept_Encoding="gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == busy_host().to_json()
    assert door("/status.json")[0].headers["Content-Encoding"] is None


def test_health(host: Host, door: Asks) -> None:
    assert door("/healthz")[1] == b"ok\n"
    assert door("/healthz")[0].status == 200
    host.shown = replace(host.shown, at=AT + timedelta(hours=1))
    response, body = door("/healthz")
    assert response.status == 503
    assert body.decode().startswith("no look at the VMs for 60 min")


def test_metrics_without_the_library_say_what_to_install(
    door: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    response, body = door("/metrics")
    assert response.status == 501
    assert b"install ckptree[metrics]" in body


@pytest.mark.parametrize(
    "path",
    [
        "/nonsense",
        "/../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/etc/passwd",
        "/status.json/",
    ],
)
def test_there_is_nothing_else(path: str, door: Asks) -> None:
    response, body = door(path)
    assert response.status == 404
    assert body.count(b"\n") == 1


def test_a_query_changes_nothing(door: Asks) -> None:
    assert door("/healthz?x=1")[0].status == 200


def test_head_has_no_body(door: Asks) -> None:
    response, body = door("/status.json", "HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(method: str, door: Asks) -> None:
    assert door("/status.json", method)[0].status == 405


@pytest.mark.parametrize("name", ["localhost:8470", "127.0.0.1", "[::1]:9000", "LOCALHOST"])
def test_names_of_this_host(name: str, door: Asks) -> None:
    assert door("/healthz", Host=name)[0].status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example", "127.0.0.1@evil", "10.1.1.1", "[::", ""]
)
def test_another_name_for_this_host_gets_nothing(name: str, door: Asks) -> None:
    response, body = door("/status.json", Host=name)
    assert response.status == 421
    assert b"web" not in body


def test_another_look_is_asked_for_on_the_unix_socket(host: Host, unix: Asks) -> None:
    assert unix("/look-again", "POST")[0].status == 202
    assert unix("/look-again", "POST", "web\n")[0].status == 202
    assert host.asked == ["", "web"]


def test_another_look_cannot_be_asked_for_elsewhere(host: Host, unix: Asks, tcp: Asks) -> None:
    assert tcp("/look-again", "POST")[0].status == 403
    assert unix("/look-again", "POST", Origin="http://localhost:8470")[0].status == 403
    assert unix("/look-again")[0].status == 405
    assert unix("/status.json", "POST")[0].status == 405
    assert host.asked == []


def test_what_is_no_vm_is_refused_in_a_sentence(host: Host, unix: Asks) -> None:
    response, body = unix("/look-again", "POST", "../web")
    assert response.status == 400
    assert b"is not a VM name" in body
    host.refusal = "no document describes VM wbe (write web)"
    response, body = unix("/look-again", "POST", "wbe")
    assert (response.status, body) == (409, b"no document describes VM wbe (write web)\n")
    assert unix("/look-again", "POST", "x" * 300)[0].status == 413


def test_a_bug_is_told_without_a_traceback(host: Host, door: Asks) -> None:
    host.shown = None  # type: ignore[assignment]
    response, body = door("/status.json")
    assert response.status == 500
    assert body.startswith(b"internal error (")
    assert b"Traceback" not in body


@contextmanager
def held_open(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(path))
        yield client


def test_slow_clients_keep_nobody_waiting(unix: Asks, folder: Path) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(held_open(folder / "ckptree.sock"))
            client.sendall(b"GET /status.json HTTP/1.1\r\nHost: loc")
        assert unix("/healthz")[0].status == 200


def test_a_client_that_never_asks_is_cut_off(
    server: StatusServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.port
    monkeypatch.setattr(doors, "_TO_ASK", 0.2)
    with held_open(folder / "ckptree.sock") as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert client.recv(100) == b""


def test_too_many_at_once_are_turned_away_and_there_is_room_again(
    unix: Asks, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "_TO_ASK", 1.0)
    with ExitStack() as stack:
        clients = [stack.enter_context(held_open(folder / "ckptree.sock")) for _ in range(16)]
        with held_open(folder / "ckptree.sock") as one_more:
            assert one_more.recv(100) == b""
        assert all(client.recv(100) == b"" for client in clients)  # cut off, as they do not ask
    assert unix("/healthz")[0].status == 200


def test_an_endless_request_ends(server: StatusServer, folder: Path) -> None:
    assert server.port
    with held_open(folder / "ckptree.sock") as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with suppress(OSError):  # of a connection that the other side has closed
            for _ in range(20):
                client.sendall(b"X-More: " + b"x" * 4000 + b"\r\n")
        with suppress(ConnectionError):
            assert client.recv(100) == b""


def test_the_socket_is_its_owners_only(server: StatusServer, folder: Path) -> None:
    assert server.port
    path = folder / "ckptree.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_live_daemon_is_not_pushed_aside(server: StatusServer, host: Host, folder: Path) -> None:
    assert server.port
    second = StatusServer(host.report, folder / "ckptree.sock", None, host.look_again)
    with pytest.raises(CkptreeError, match=r"another process serves .* stop it first"):
        second.start()
    assert ask("/healthz", folder / "ckptree.sock") == b"ok\n"


def test_the_socket_of_a_dead_daemon_is_replaced(host: Host, other: Path) -> None:
    path = other
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    server = StatusServer(host.report, path, None, host.look_again)
    server.start()
    assert ask("/healthz", path) == b"ok\n"
    server.stop()
    assert not path.exists()
    assert ask("/healthz", path) is None
    server.start()
    assert ask("/healthz", path) == b"ok\n"
    server.stop()
    server.stop()


def test_a_socket_that_was_taken_away_is_made_again(host: Host, other: Path) -> None:
    server = StatusServer(host.report, other, None, host.look_again)
    server.start()
    for _ in range(2):
        other.unlink()
        until(lambda: ask("/healthz", other) == b"ok\n")
        assert stat.S_IMODE(other.stat().st_mode) == 0o600
    server.stop()
    assert not other.exists()


def test_the_socket_of_another_process_is_left_alone(
    host: Host, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = StatusServer(host.report, other, None, host.look_again)
    server.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as theirs:
        beside = other.with_name("theirs")
        theirs.bind(str(beside))
        theirs.listen()
        beside.rename(other)
        until(lambda: "cannot be asked any more" in caplog.text)
        server.stop()
        assert other.exists()


def test_only_a_loopback_address_is_listened_on(host: Host, folder: Path) -> None:
    with pytest.raises(CkptreeError, match=r"listen: 0\.0\.0\.0 can be reached from other hosts"):
        StatusServer(host.report, folder / "ckptree.sock", ("0.0.0.0", 8470), host.look_again)  # noqa: S104


def test_a_port_that_is_taken_is_one_sentence(
    server: StatusServer, host: Host, folder: Path
) -> None:
    assert server.port
    taken = ("127.0.0.1", server.port)
    second = StatusServer(host.report, folder / "other.sock", taken, host.look_again)
    with pytest.raises(CkptreeError, match="is not to be had"):
        second.start()
    assert not (folder / "other.sock").exists()


# The client


def test_the_client_tells_of_the_daemon(server: StatusServer, host: Host, folder: Path) -> None:
    assert server.port
    found = presence(folder / "ckptree.sock")
    assert found is not None
    assert (found.pid, found.mute) == (71, "")
    assert found.last_pass == AT - timedelta(seconds=12)
    by_name = {str(vm.status.vm): vm.doing for vm in host.shown.vms}
    assert found.doing == by_name
    assert found.doing["dns"].work is Work.BACKING_OFF


def test_the_client_asks_for_another_look(server: StatusServer, host: Host, folder: Path) -> None:
    assert server.port
    assert look_again("web", folder / "ckptree.sock")
    assert host.asked == ["web"]
    host.refusal = "not now"
    with pytest.raises(DaemonMute, match="refuses: not now"):
        look_again("web", folder / "ckptree.sock")


def test_no_daemon(other: Path) -> None:
    assert presence(other) is None
    assert presence(other / "below" / "ckptree.sock") is None
    assert not look_again("web", other)


def test_a_daemon_that_hangs_holds_nobody_up(other: Path) -> None:
    path = other
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(DaemonMute, match=r"does not answer within 0\.1 s"):
            ask("/doing.json", path, patience=0.1)


def test_a_daemon_that_trickles_holds_nobody_up(other: Path) -> None:
    path = other
    done = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while not done.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        with pytest.raises(DaemonMute):
            ask("/doing.json", path, patience=0.2)
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"no JSON", b'{"daemon": {"pid": 1, "last_pass": 5}, "doing": {}}']
)
def test_an_answer_of_another_version_is_said(body: bytes, other: Path) -> None:
    path = other

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        found = presence(path)
        thread.join()
    assert found is not None
    assert found.mute == "the daemon's answer is of another version (restart it)"
