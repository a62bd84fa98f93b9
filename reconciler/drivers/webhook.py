"""Send JSON to an address by HTTP POST: over TLS, or to this very host. Follows no redirect.

An address may be a secret (many services put a token into it), so messages name the host only.
"""

import http.client
import urllib.error
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler import __version__
from reconciler.errors import CkptreeError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

_SECONDS = 10.0  # for each of connecting, sending, and the next bytes of the answer


def why_not_sent_to(url: str) -> str:
    """Say why nothing is sent to URL, and what to write instead; empty if it can be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "this is no address (write https://HOST/PATH)"
    if not host or port == 0 or not url.isascii() or not url.isprintable() or " " in url:
        return "this is no address (write https://HOST/PATH)"
    if parts.username is not None:
        return "a name and password in an address are not sent (put a token into its path)"
    if parts.scheme == "https":
        return ""
    if parts.scheme == "http" and _loopback(host):
        return ""
    return "it is neither https nor http on this host (write https://HOST/PATH)"


class Webhook:
    """Sends to URL. Raises CkptreeError if it is no address to send to."""

    def __init__(self, url: str) -> None:
        why_not = why_not_sent_to(url)
        if why_not:
            raise CkptreeError(f"no webhook: {why_not}")
        self._url = url
        parts = urlsplit(url)
        self._name = parts.hostname or ""
        self._opener = _opener(direct=parts.scheme == "http")

    def send(self, body: bytes) -> None:
        """Send BODY, which is JSON; raises CkptreeError unless the answer says that it was taken (2xx)."""
        from urllib.request import Request

        headers = {"Content-Type": "application/json", "User-Agent": f"ckptree/{__version__}"}
        request = Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - __init__ looked
        try:
            with self._opener.open(request, timeout=_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            where = " (redirects are not followed)" if 300 <= error.code < 400 else ""
            raise CkptreeError(f"{self._name} answers {error.code}{where}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise CkptreeError(f"{self._name} cannot be reached: {reason}") from None


def _opener(*, direct: bool) -> "OpenerDirector":
    import urllib.request

    class Refusing(urllib.request.HTTPRedirectHandler):
        """Follows no redirect: what is told of this host goes where the operator said, and nowhere else."""

        def redirect_request(self, *_: object) -> None:
            return None

    # Of the classes that the standard library would add, its own redirect handler is left out for this one.
    handlers: list[urllib.request.BaseHandler] = [Refusing()]
    if direct:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
