"""The page as a document: whole in itself, and closed to anything that a report might bring in."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

from reconciler.render.page import page, saved_page
from reconciler.render.status_view import PATIENT
from tests.support.reports import busy_host, host_report, vm_report
from tests.unit.render import scenarios


class Elements(HTMLParser):
    """Gathers the elements of a document, and the text in those that hold programs, styles and data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self._gather = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._gather = tag in {"script", "style"}
        if self._gather:
            self.inside.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._gather = False

    def handle_data(self, data: str) -> None:
        if self._gather:
            self.inside[-1] += data


def policy_of(text: str) -> str:
    metas = (attributes for tag, attributes in Elements(text).found if tag == "meta")
    return next(
        str(meta["content"])
        for meta in metas
        if meta.get("http-equiv") == "Content-Security-Policy"
    )


def test_nothing_outside_of_the_page_is_named() -> None:
    text = saved_page(busy_host())
    for tag, attributes in Elements(text).found:
        for key in ("src", "href"):
            if tag != "use" and (value := attributes.get(key)):
                assert value.startswith(("#", "data:")), (tag, value)
    style = Elements(text).inside[0]
    assert "url(" not in style
    assert "@import" not in style


def test_only_the_pages_own_program_and_style_may_run() -> None:
    text = saved_page(busy_host())
    style, _, script = Elements(text).inside
    policy = policy_of(text)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for part in (style, script):
        assert b64encode(sha256(part.encode()).digest()).decode() in policy


def test_only_a_live_page_may_ask_for_news() -> None:
    assert "connect-src 'none'" in policy_of(page("{}", live=False))
    assert "connect-src 'self'" in policy_of(page("{}", live=True))
    assert '<html lang="en" data-live="yes">' in page("{}", live=True)
    assert '<html lang="en" data-live="no">' in page("{}", live=False)


def test_text_of_people_stays_text() -> None:
    wicked = "</script><script>alert(1)</script><!--<script>{{script}}"
    report = vm_report("web", scenarios.nothing_to_do())
    nodes = (replace(report.tree.nodes[0], about=wicked), *report.tree.nodes[1:])
    report = replace(report, tree=replace(report.tree, nodes=nodes))
    text = saved_page(host_report((report,)))
    parts = Elements(text).inside
    assert len(parts) == 3  # the style, the report, the program
    assert json.loads(parts[1])["vms"][0]["tree"]["nodes"][0]["about"] == wicked


def test_the_same_report_gives_the_same_bytes() -> None:
    assert saved_page(busy_host()) == saved_page(busy_host())
    assert not re.search(r"\{\{\w+\}\}", saved_page(busy_host()))


def test_the_page_knows_the_same_patient_waits_as_the_status() -> None:
    found = re.search(r"const PATIENT = (\[.*?\]);", page("{}", live=False))
    assert found is not None
    assert set(json.loads(found[1])) == {reason.value for reason in PATIENT}
