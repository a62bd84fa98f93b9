"""Posts to a real server on this host: what arrives, what counts as taken, and where nothing is sent."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread

import pytest

from reconciler.drivers import webhook
from reconciler.drivers.webhook import Webhook, why_not_sent_to
from reconciler.errors import CkptreeError


class Server(HTTPServer):
    """Answers with CODE; remembers what it was asked."""

    def __init__(self, code: int, where: str = "", hang: Event | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.code, self.where, self.hang = code, where, hang
        self.asked: list[tuple[str, str, str | None, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/s3cret"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(body)

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        asked = (self.command, self.path, self.headers["Content-Type"], body)
        self.server.asked.append(asked)
        if self.server.hang is not None:
            self.server.hang.wait(10)
        self.send_response(self.server.code)
        if self.server.where:
            self.send_header("Location", self.server.where)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(code: int, where: str = "", hang: Event | None = None) -> Iterator[Server]:
    server = Server(code, where, hang)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if hang is not None:
            hang.set()
        server.shutdown()
        thread.join()
        server.server_close()


def complaint(url: str) -> str:
    with pytest.raises(CkptreeError) as failed:
        Webhook(url).send(b"{}")
    assert "s3cret" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("code", [200, 202, 204])
def test_the_body_is_posted_as_json(code: int) -> None:
    with serving(code) as server:
        Webhook(server.url).send(b'{"event": "taken"}')
        expected = ("POST", "/hook/s3cret", "application/json", b'{"event": "taken"}')
        assert server.asked == [expected]


@pytest.mark.parametrize("code", [400, 403, 500, 503])
def test_any_other_answer_is_a_failure(code: int) -> None:
    with serving(code) as server:
        assert complaint(server.url) == f"127.0.0.1 answers {code}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(code: int) -> None:
    with serving(200) as other, serving(code, other.url) as server:
        assert complaint(server.url) == (f"127.0.0.1 answers {code} (redirects are not followed)")
        assert len(server.asked) == 1
        assert not other.asked


def test_one_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_SECONDS", 0.3)
    with serving(200, hang=Event()) as server:
        before = time.monotonic()
        assert complaint(server.url) == "127.0.0.1 cannot be reached: timed out"
        assert time.monotonic() - before < 3


def test_one_that_is_not_there_is_told() -> None:
    with serving(200) as server:
        url = server.url
    told = complaint(url)
    assert told.startswith("127.0.0.1 cannot be reached: ")
    assert told.endswith("Connection refused")


def test_a_proxy_is_not_asked_for_what_is_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(200) as server:
        Webhook(server.url).send(b"{}")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://hooks.example.org/x", ""),
        ("https://[::1]/x", ""),
        ("http://127.0.0.1:8080/x", ""),
        ("http://[::1]:8080/x", ""),
        ("http://localhost/x", ""),
        ("http://hooks.example.org/x", "it is neither https nor http on this host"),
        ("http://127.0.0.1.example.org/x", "it is neither https nor http on this host"),
        ("file:///etc/passwd", "this is no address"),
        ("ftp://127.0.0.1/x", "it is neither https nor http on this host"),
        ("https://", "this is no address"),
        ("https://host:port/", "this is no address"),
        ("https://host/a b", "this is no address"),
        ("https://host/\n", "this is no address"),
        ("https://[::1/", "this is no address"),
        ("https://user:word@host/", "a name and password"),
        ("nonsense", "this is no address"),
    ],
)
def test_where_things_are_sent_to(url: str, why: str) -> None:
    found = why_not_sent_to(url)
    assert found.startswith(why) if why else found == ""
