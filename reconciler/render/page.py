"""The page: one HTML document that draws a host's report, with nothing outside of it.

``page.html``, ``page.css`` and ``page.js`` lie beside this and are put together here, without a build step. What may
run is named by hash in a Content-Security-Policy: text from documents and snapshots can never become a program. The
same page is served by the daemon, where it asks for news, and saved by ``ckptree tree --html``, where it stands still.
"""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from reconciler.render.host_view import HostReport

OUTER_POLICY = "frame-ancestors 'none'"
"""The part of the policy that counts only in a header, which a saved page has not."""


def saved_page(report: HostReport) -> str:
    """Write REPORT as a page that stands still."""
    return page(json.dumps(report.to_json(), separators=(",", ":")), live=False)


def page(report: str, *, live: bool) -> str:
    """Write REPORT, a HostReport as JSON text, as a page; a LIVE one asks where it came from for news."""
    before, after = _frame(live)
    # Inside a script element only "<" can begin something else, and in JSON it stands only inside a text.
    return before + report.replace("<", "\\u003c") + after


@cache
def _frame(live: bool) -> tuple[str, str]:  # noqa: FBT001 - cache keys by position
    style, script = _asset("page.css"), _asset("page.js")
    news = "'self'" if live else "'none'"
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "img-src data:",
            f"connect-src {news}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        )
    )
    document = _asset("page.html")
    for name, text in (
        ("policy", policy), ("live", "yes" if live else "no"), ("style", style), ("script", script),
    ):  # fmt: skip
        document = document.replace(f"{{{{{name}}}}}", text)
    before, _, after = document.partition("{{report}}")
    return before, after


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("reconciler.render").joinpath(name).read_text("utf-8")
