"""The daemon's ears: HTTP on its Unix socket and, by option, on a loopback address.

Anyone who may open the socket may ask for another look; the loopback address only shows. Requests are small, few and
short: whatever is larger, slower or more is turned away, so that no client can keep the others waiting. What is
answered is in ``answers``. A web browser that was lured to another name for this address gets nothing.
"""

import io
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from reconciler.daemon.answers import Answer, Answers, sentence
from reconciler.errors import CkptreeError, NameInvalid
from reconciler.keeper.endpoint import Endpoint
from reconciler.names import VmName
from reconciler.render.host_view import HostReport

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LONGEST_REQUEST = 32 * 1024  # bytes, headers and body together
_LONGEST_BODY = 256  # the name of a VM
_TO_ASK = 10.0  # seconds for the whole request
_TO_READ = 60.0  # seconds for the whole answer
_AT_ONCE = 16  # requests at one door
_COMMON = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = logging.getLogger(__name__)


class StatusServer:
    """Shows what REPORT tells of the present moment on SOCKET, and on LISTEN, a loopback address and port, where given.

    LOOK_AGAIN is called with the name of a VM, or with an empty text for all, when somebody asks for that; what it
    raises as CkptreeError is told to them. Both are called from several threads. INTERVAL is the time between two
    looks at everything.
    """

    def __init__(
        self,
        report: Callable[[], HostReport],
        socket: Path,
        listen: tuple[str, int] | None,
        look_again: Callable[[str], None],
        *,
        interval: timedelta = timedelta(minutes=5),
    ) -> None:
        if listen is not None and not _loopback(listen[0]):
            raise CkptreeError(
                f"listen: {listen[0]} can be reached from other hosts (write 127.0.0.1; a web server that asks for"
                " passwords may stand before it)"
            )
        self._answers = Answers(report, interval)
        self._socket = socket
        self._listen = listen
        self._look_again = look_again
        self._endpoint: Endpoint | None = None
        self._doors: list[_Door] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int | None:
        """The port on the loopback address, which the system chose if 0 was given; none without one."""
        return next((d.server_address[1] for d in self._doors if d.look_again is None), None)

    def start(self) -> None:
        """Begin to answer; raises CkptreeError if another daemon does, or an address is not to be had."""
        self._endpoint = Endpoint(str(self._socket), "only one 'ckptree run' may, stop it first")
        self._doors.append(_UnixDoor(self._endpoint, self._socket, self._answers, self._look_again))
        if self._listen is not None:
            try:
                self._doors.append(_TcpDoor(self._listen, self._answers))
            except OSError as error:
                self.stop()
                host, port = self._listen
                raise CkptreeError(
                    f"listen: {host}:{port} is not to be had ({error.strerror}); choose another in ckptree.yaml"
                ) from error
        for door in self._doors:
            thread = threading.Thread(target=door.serve_forever, name="status", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End answering, and take the socket away. May be called twice, and before the start."""
        for door, _ in zip(self._doors, self._threads, strict=False):
            door.shutdown()
        for thread in self._threads:
            thread.join()
        # Only now: a door that still waits would put the socket back.
        if self._endpoint is not None:
            self._endpoint.withdraw()
            self._endpoint.listener.close()
        for door in self._doors:
            door.server_close()
        self._endpoint, self._doors, self._threads = None, [], []


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Door(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listening socket; so many requests at once as it has room for, each in a thread of its own."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    look_again: Callable[[str], None] | None = None

    def prepare(self, answers: Answers) -> None:
        """Say what is answered here."""
        self.answers = answers
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002
        return self._room.acquire(blocking=False)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._room.release()
            raise

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        _log.debug("a client went away", exc_info=True)


class _UnixDoor(_Door):
    address_family = socket.AF_UNIX

    def __init__(
        self, endpoint: Endpoint, path: Path, answers: Answers, look_again: Callable[[str], None]
    ) -> None:
        super().__init__("", _Request, bind_and_activate=False)  # type: ignore[arg-type]
        self.socket.close()
        self.socket = endpoint.listener.dup()
        self.prepare(answers)
        self.look_again = look_again
        self._endpoint: Endpoint | None = endpoint
        self._path = path

    def service_actions(self) -> None:
        """Put the socket back if its file was taken away: nobody could find this daemon, and a second might begin."""
        try:
            if self._endpoint is not None and self._endpoint.repair():
                # The base goes on waiting on the number of the descriptor that it began with.
                os.dup2(self._endpoint.listener.fileno(), self.fileno(), inheritable=False)
                _log.warning("%s had been taken away, and was made again", self._path)
        except (CkptreeError, OSError) as error:
            self._endpoint = None
            _log.error("this daemon cannot be asked any more: %s", error)


class _TcpDoor(_Door):
    def __init__(self, listen: tuple[str, int], answers: Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self.prepare(answers)
        super().__init__(listen, _Request)


class _Within(io.RawIOBase):
    """What a client sends on CONNECTION, until it has sent too much or taken too long."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = time.monotonic() + _TO_ASK
        self._left = _LONGEST_REQUEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        if self._left == 0:
            raise ConnectionAbortedError("the request is too long")
        into = memoryview(buffer)
        self._connection.settimeout(left)
        count = self._connection.recv_into(into, min(into.nbytes, self._left))
        self._left -= count
        return count


class _Request(BaseHTTPRequestHandler):
    """One request, after which the connection ends."""

    server: _Door
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"
    _text = ""
    _hosts: ClassVar = {"localhost", "127.0.0.1", "::1"}

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Within(self.connection))

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        # Read whatever is answered: a connection that ends with something unread takes the answer with it.
        self._answer(self._post, self._body)

    def _no_such_method(self) -> None:
        self._answer(lambda: sentence(405, "only GET, HEAD and POST /look-again are answered"))

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _no_such_method  # noqa: N815

    def _answer(
        self, find: Callable[[], Answer], first: Callable[[], Answer | None] = lambda: None
    ) -> None:
        try:
            answer = first() or self._wrong_name() or find()
        except OSError:
            self.close_connection = True
            return  # the client is gone, or was too slow
        except Exception as error:  # noqa: BLE001 - a client gets a sentence, never a traceback
            _log.exception("answering %s failed", self.path)
            answer = sentence(
                500, f"internal error ({type(error).__name__}); the daemon's log has more"
            )
        self._send(answer)

    def _wrong_name(self) -> Answer | None:
        """Refuse who calls this host by a name of theirs: a page in a web browser that had it point here."""
        names = self.headers.get_all("host") or ["localhost"]
        name = _without_port(names[0])
        here = {self.server.server_address[0]} if self.server.look_again is None else set()
        if len(names) == 1 and name in self._hosts | here:
            return None
        return sentence(421, "this is answered under the name localhost only")

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _get(self) -> Answer:
        headers: Mapping[str, str] = {key.lower(): text for key, text in self.headers.items()}
        answer = self.server.answers.get(self._path(), headers)
        if answer is None and self._path() == "/look-again":
            return sentence(405, "ask for another look with POST")
        return answer or sentence(
            404, "there are /, /status.json, /doing.json, /healthz and /metrics"
        )

    def _body(self) -> Answer | None:
        """Read the body; refuse one that is too long to be a VM's name."""
        length = self.headers.get("content-length") or "0"
        if not length.isascii() or not length.isdigit() or "transfer-encoding" in self.headers:
            return sentence(411, "the length of the body is to be given in bytes")
        self._text = (
            self.rfile.read(min(int(length), _LONGEST_REQUEST)).decode(errors="replace").strip()
        )
        if int(length) > _LONGEST_BODY:
            return sentence(413, "the body is the name of a VM, or empty")
        return None

    def _post(self) -> Answer:
        look_again = self.server.look_again
        if self._path() != "/look-again":
            return sentence(405, "only /look-again takes a POST")
        if look_again is None:
            return sentence(403, "another look can be asked for on the daemon's Unix socket only")
        if "origin" in self.headers:
            return sentence(403, "another look cannot be asked for by a web page")
        text = self._text
        try:
            look_again(VmName(text) if text else "")
        except NameInvalid as error:
            return sentence(400, str(error))
        except CkptreeError as error:
            return sentence(409, str(error))
        return sentence(202, f"looking at {text or 'everything'} again")

    def _send(self, answer: Answer) -> None:
        self.connection.settimeout(_TO_READ)  # of sendall as a whole
        self.send_response(answer.status)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        for key, text in {**_COMMON, **(answer.headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "ckptree"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        _log.debug(format, *args)


def _without_port(host: str) -> str:
    """Take the name out of a Host header; an empty text if that is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
