"""The page in a real browser, without a window: drawn, walked by keyboard, kept true, and read out."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from reconciler.daemon.http import StatusServer
from reconciler.names import NodeName
from reconciler.render.host_view import Doing, HostReport, VmReport, Work
from reconciler.render.page import saved_page
from reconciler.render.tree_nodes import NodeView, Phase
from reconciler.render.units import age_text, bytes_text
from tests.support.reports import AT, busy_host, daemon_facts, grown_tree, host_report, vm_report
from tests.unit.render import scenarios

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_PATIENCE = 20  # seconds
PHONE, DESKTOP = 390, 1200

_LAST_STATUS = """
return performance.getEntriesByName(new URL("status.json", location)).at(-1)?.responseStatus;
"""
_TOO_WIDE = """
const outside = (e) => e.getBoundingClientRect().right > innerWidth + 1;
return [...document.querySelectorAll("body *:not(.skip)")].filter(outside).map((e) => e.className);
"""
_LOW_CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const channel = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
const bad = new Set();
for (const e of document.querySelectorAll("body *")) {
  if (!hasText(e) || e.closest("[hidden], .unseen, .skip, script, noscript")) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); // WCAG 2.2, 1.4.3
  if (ratio < 4.5) bad.add(`${e.className || e.tagName} ${ratio.toFixed(2)}`);
}
return [...bad];
"""


class Browser:
    """Chromium, and what a person sees and does in it."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))

    def tell(self, command: str, **arguments: object) -> dict[str, Any]:
        return cast(dict[str, Any], self.driver.execute_cdp_cmd(command, arguments))

    def look(self, width: int = DESKTOP, scheme: str = "light", motion: str = "reduce") -> None:
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.tell(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": motion},
            ],
        )

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the script gives
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector) if element.is_displayed()]

    @property
    def text(self) -> str:
        return self.one("body").text

    def focus(self) -> str:
        """Which row of a tree, or else which element, has the focus."""
        return str(
            self.run("const a = document.activeElement; return a.dataset.key ?? a.id ?? a.tagName")
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def until(self, holds: Callable[[], object]) -> None:
        WebDriverWait(self.driver, _PATIENCE, poll_frequency=0.1).until(lambda _: holds())

    def ask_now(self) -> None:
        """Let the page ask for news at once, as it does when it comes into view."""
        self.run("document.dispatchEvent(new Event('visibilitychange'))")

    def complaints(self) -> list[str]:
        """What the browser has noted: errors of the program, and what the policy refused."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] in {"SEVERE", "WARNING"}]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; whatever a test does, the page's program has had no error and nothing was refused."""
    chromium.look()
    chromium.driver.get("about:blank")
    chromium.complaints()
    yield chromium
    assert [line for line in chromium.complaints() if "ERR_CONNECTION_REFUSED" not in line] == []


Opens = Callable[[HostReport], None]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Opens:
    """Opens a saved page of a report."""

    def opened(report: HostReport) -> None:
        file = tmp_path / "page.html"
        file.write_text(saved_page(report), encoding="utf-8")
        browser.driver.get(file.as_uri())

    return opened


class Served:
    """A report that is served, and may be exchanged meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.report = busy_host()
        self._folder = folder
        self.server = self._make(0)
        self.server.start()
        self.port = self.server.port or 0

    def _make(self, port: int) -> StatusServer:
        listen = ("127.0.0.1", port)
        return StatusServer(lambda: self.report, self._folder / "s", listen, lambda _: None)

    def again(self) -> None:
        self.server = self._make(self.port)
        self.server.start()


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("run"))
    yield made
    made.server.stop()


@pytest.fixture
def live(served: Served, browser: Browser) -> Served:
    browser.driver.get(f"http://127.0.0.1:{served.port}/")
    return served


def named(report: HostReport, name: str) -> VmReport:
    return next(vm for vm in report.vms if str(vm.status.vm) == name)


def exchanged(report: HostReport, name: str, by: VmReport) -> HostReport:
    vms = tuple(by if str(vm.status.vm) == name else vm for vm in report.vms)
    return replace(report, vms=vms)


# What is seen


def test_what_is_wrong_is_seen_at_a_glance(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    assert browser.one("#verdict").text == "4 of 9 VMs need you"
    assert browser.driver.title == "(5) bsd07 · ckptree"
    assert "new.yaml:6:1: unknown key 'colour'" in browser.one("#alerts").text
    order = [element.get_attribute("data-vm") for element in browser.all("#list > li")]
    assert order[:4] == ["dns", "files", "shop", "web"]
    assert order[-1] == "git"
    assert "tank/vm/old" in browser.one("#released").text


def test_all_well_is_said_too(browser: Browser, open_page: Opens) -> None:
    open_page(host_report((vm_report("web", scenarios.nothing_to_do()),)))
    assert browser.one("#verdict").text == "The VM is as its file says"
    assert browser.shown("#alerts > *") == []


def test_you_are_here(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    here = browser.one("[data-vm=web] .node.here")
    assert here.is_displayed()
    assert "with-postgres" in here.text
    assert "you are here, 412.0 MiB unsaved" in here.text
    assert here.get_attribute("aria-current") == "location"


def test_what_waits_says_why_and_what_would_resolve_it(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    reasons = browser.shown("[data-vm=web] .reasons > li")
    assert reasons[0] == (
        "ParentNotCurrent: other cannot be taken: the guest descends from with-postgres, not from base\n"
        "write 'current: base' to restore that first, or 'fork: true' at other"
    )
    assert "waiting" in browser.one("[data-vm=web] [data-key=other]").text


def test_what_the_daemon_does(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    failed = browser.one("[data-vm=dns] .doing").text
    assert failed == "Failed 4 times in a row: tank/vm/dns/b-1: no space; next try in 40 s"
    assert browser.one("[data-vm=mail] h2").text.split("\n")[1] == "capture nightly, for 8 s"


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_every_phase_has_a_look_of_its_own(
    phase: Phase, browser: Browser, open_page: Opens
) -> None:
    vm = vm_report("web", scenarios.nothing_to_do())
    nodes = (replace(vm.tree.nodes[0], phase=phase), *vm.tree.nodes[1:])
    open_page(host_report((replace(vm, tree=replace(vm.tree, nodes=nodes)),)))
    row = browser.one("[data-key=base]")
    said = "" if phase is Phase.PRESENT else phase.value.lower()
    assert said in row.text.split()[1:] or phase is Phase.PRESENT
    assert phase.value.lower() in str(row.get_attribute("class"))


def test_sizes_and_ages_are_in_the_words_of_the_commands(
    browser: Browser, open_page: Opens
) -> None:
    sizes = [0, 1, 1023, 1024, 1536, (1 << 20) - 1, 1 << 20, 13 << 30, 5 << 50, 3 << 60]
    ages = [0, 119, 120, 7199, 7200, 172799, 172800, 7775999, 7776000, 63071999, 63072000, -90]
    vm = vm_report("web", scenarios.nothing_to_do())
    first = vm.tree.nodes[0]
    pairs = [(sizes[number % len(sizes)], ages[number % len(ages)]) for number in range(60)]
    nodes: list[NodeView] = []
    for number, (size, age) in enumerate(pairs):
        taken = AT - timedelta(seconds=age)
        name = NodeName(f"n{number}")
        nodes.append(replace(first, name=name, own_bytes=size, taken=taken))
    open_page(host_report((replace(vm, tree=replace(vm.tree, nodes=tuple(nodes))),)))
    found = browser.run(
        "return [...document.querySelectorAll('.node')].map("
        "n => [...n.querySelectorAll('.num')].slice(1).map(x => x.textContent))"
    )
    assert found == [[age_text(timedelta(seconds=age)), bytes_text(size)] for size, age in pairs]


def test_text_of_people_stays_text(browser: Browser, open_page: Opens) -> None:
    wicked = "</script><img src=x onerror=\"document.title='had'\"><b>bold</b>"
    vm = vm_report("web", scenarios.nothing_to_do())
    nodes = (replace(vm.tree.nodes[0], about=wicked), *vm.tree.nodes[1:])
    open_page(host_report((replace(vm, tree=replace(vm.tree, nodes=nodes)),)))
    assert wicked in browser.text
    assert browser.driver.title == "bsd07 · ckptree"


# Finding


def test_finding_by_name_of_a_checkpoint(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    browser.press("/")
    assert browser.focus() == "find"
    browser.press("experiment")
    browser.until(lambda: len(browser.shown("#list > li")) < 9)
    assert all("experiment" in text for text in browser.shown("#list > li"))
    assert set(browser.shown(".node.hit .name")) == {"experiment"}
    browser.press("-nowhere")
    browser.until(lambda: browser.one("#none").is_displayed())
    browser.press(Keys.ESCAPE)
    browser.until(lambda: len(browser.shown("#list > li")) == 9)


@pytest.mark.parametrize("words", ["parentnotcurrent", "change=chg-4711 web", "14.3 fresh"])
def test_finding_by_reason_label_and_words(words: str, browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    browser.press("/")
    browser.press(words)
    browser.until(lambda: " shown" in str(browser.one("#said").get_attribute("textContent")))
    found = browser.all("#list > li:not([hidden])")
    assert "web" in [element.get_attribute("data-vm") for element in found]


def test_only_the_vms_in_one_state(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    button = browser.one("#states [data-mood=stalled]")
    assert button.text == "Stalled 3"
    button.click()
    assert browser.one("#states [data-mood=stalled]").get_attribute("aria-pressed") == "true"
    assert len(browser.shown("#list > li")) == 3
    assert browser.run("return document.activeElement.dataset.mood") == "stalled"
    browser.one("#states [data-mood='']").click()
    assert len(browser.shown("#list > li")) == 9


# The keyboard


def test_walking_a_tree(browser: Browser, open_page: Opens) -> None:
    open_page(host_report((vm_report("web", scenarios.waits()),)))
    browser.run("document.querySelector('h2 button').focus()")
    browser.press(Keys.TAB)
    assert browser.focus() == "with-postgres"  # the tree is entered where the guest is
    browser.press(Keys.HOME)
    assert browser.focus() == "base"
    browser.press(Keys.ARROW_DOWN)
    assert browser.focus() == "other"
    browser.press(Keys.ARROW_LEFT)
    assert browser.focus() == "base"
    browser.press(Keys.END)
    assert browser.focus() == "last"
    browser.press(Keys.ARROW_DOWN)
    assert browser.focus() == "last"
    browser.press("p")
    assert browser.focus() == "patched"
    browser.press(Keys.ARROW_RIGHT)
    assert browser.focus() == "with-postgres"
    assert len(browser.all("[role=treeitem][tabindex='0']")) == 1


def test_details_by_enter(browser: Browser, open_page: Opens) -> None:
    open_page(host_report((vm_report("web", scenarios.waits()),)))
    browser.run("document.querySelector('.node.here').focus()")
    browser.press(Keys.ENTER)
    row = browser.one(".node.here")
    assert row.get_attribute("aria-selected") == "true"
    assert "tank/vm/web/b-1@with-postgres" in row.text
    assert browser.focus() == "with-postgres"
    browser.press(Keys.SPACE)
    assert "tank/vm/web/b-1@with-postgres" not in browser.one(".node.here").text


def test_walking_the_vms(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    browser.run("document.querySelector('h2 button').focus()")
    for name in ("files", "shop"):
        browser.press(Keys.ARROW_DOWN)
        assert browser.run("return document.activeElement.closest('li').dataset.vm") == name
    browser.press(Keys.END)
    assert not browser.all("[data-vm=git] .node")
    browser.press(Keys.ENTER)
    assert browser.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    assert browser.shown("[data-vm=git] .node")
    browser.press(Keys.ARROW_LEFT)
    assert not browser.all("[data-vm=git] .node")


def test_automatic_checkpoints_are_folded_and_bury_nothing(
    browser: Browser, open_page: Opens
) -> None:
    vm = grown_tree("web", 10, 1000)
    open_page(host_report((vm,)))
    names = [node.name for node in vm.tree.nodes if not node.name.automatic]
    assert [text for text in browser.shown(".node .name") if text.startswith("step")] == names
    assert len(browser.all(".node")) < 40
    fold = browser.one(".node.fold")
    key = fold.get_attribute("data-key")
    assert "automatic checkpoints folded" in fold.text
    count = int(fold.text.split()[1])
    before = len(browser.all(".node"))
    browser.run("arguments[0].focus()", fold)
    browser.press(Keys.ARROW_RIGHT)
    assert browser.focus() == key
    assert len(browser.all(".node")) == before + count
    browser.press(Keys.ARROW_LEFT)
    assert len(browser.all(".node")) == before


# Kept true


def test_news_are_shown_and_the_focus_stays(live: Served, browser: Browser) -> None:
    browser.run("document.querySelector('[data-vm=web] [data-key=other]').focus()")
    ready = vm_report("shop", scenarios.nothing_to_do())
    web = named(live.report, "web")
    web = replace(web, tree=replace(web.tree, unsaved=5 << 30))
    live.report = exchanged(exchanged(live.report, "shop", ready), "web", web)
    browser.until(lambda: browser.one("#verdict").text == "3 of 9 VMs need you")
    assert "you are here, 5.0 GiB unsaved" in browser.one("[data-vm=web] .node.here").text
    assert browser.focus() == "other"
    assert browser.run("return document.activeElement.closest('li').dataset.vm") == "web"
    browser.until(lambda: "shop: Ready" in str(browser.one("#said").get_attribute("textContent")))


def test_vms_come_and_go(live: Served, browser: Browser) -> None:
    new = vm_report("brand-new", scenarios.nothing_to_do())
    live.report = replace(live.report, vms=(*live.report.vms[1:], new))
    browser.ask_now()
    browser.until(lambda: browser.all("[data-vm=brand-new]"))
    assert not browser.all("[data-vm=web]")


def test_what_has_not_changed_is_not_sent_again(live: Served, browser: Browser) -> None:
    browser.ask_now()
    browser.until(lambda: browser.run(_LAST_STATUS) == 200)
    browser.run("document.querySelector('.node.here').marked = true")
    live.report = replace(live.report, at=AT + timedelta(seconds=30))
    browser.ask_now()
    browser.until(lambda: browser.run(_LAST_STATUS) == 304)
    assert browser.run("return document.querySelector('.node.here').marked") is True


def test_a_daemon_that_is_gone_is_seen_and_its_return_too(live: Served, browser: Browser) -> None:
    assert browser.shown("#gone") == []
    live.server.stop()
    for _ in range(2):
        browser.ask_now()
    browser.until(lambda: browser.shown("#gone"))
    notice = browser.one("#gone")
    assert notice.text.startswith("The daemon does not answer. This picture is ")
    assert notice.get_attribute("role") == "alert"
    assert "grayscale" in browser.run("return getComputedStyle(document.querySelector('main')).filter")  # fmt: skip
    live.again()
    browser.ask_now()
    browser.until(lambda: not browser.shown("#gone"))


def test_a_daemon_that_does_not_look_any_more_is_seen(served: Served, browser: Browser) -> None:
    late = daemon_facts(AT, last_pass=AT - timedelta(hours=1), next_pass=AT - timedelta(minutes=55))
    served.report = replace(served.report, daemon=late)
    browser.driver.get(f"http://127.0.0.1:{served.port}/")
    assert browser.one("#pulse").text == "late, last look 60 min ago, pid 71"


def test_a_saved_page_stands_still(browser: Browser, open_page: Opens) -> None:
    open_page(replace(busy_host(), daemon=None))
    assert browser.one("#pulse").text == "as of 2026-11-24 12:00 UTC, without the daemon"
    browser.ask_now()
    time.sleep(1)  # whether nothing happens can only be seen by waiting
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.shown("#gone") == []


# For every eye and hand


@pytest.mark.parametrize("width", [320, PHONE, 768, DESKTOP])
def test_nothing_is_wider_than_the_screen(width: int, browser: Browser, open_page: Opens) -> None:
    browser.look(width)
    vms = (*busy_host().vms, grown_tree("grown", 40, 80))
    open_page(replace(busy_host(), vms=vms))
    browser.run("for (const b of document.querySelectorAll('h2 button[aria-expanded=false]')) b.click()")  # fmt: skip
    browser.run("for (const n of [...document.querySelectorAll('.node.here')]) n.click()")
    wide = browser.run(_TOO_WIDE)
    assert wide == []
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_with_enough_contrast(
    scheme: str, browser: Browser, open_page: Opens
) -> None:
    browser.look(scheme=scheme)
    open_page(busy_host())
    for name in ("mail", "git", "db", "build", "far"):
        browser.one(f"[data-vm={name}] h2 button").click()
    red = browser.run("return Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])")  # fmt: skip
    assert (red > 200) is (scheme == "light")
    assert browser.run(_LOW_CONTRAST) == []


@pytest.mark.parametrize(("motion", "moves"), [("reduce", "none"), ("no-preference", "breathe")])
def test_nothing_moves_for_who_wants_that(
    motion: str, moves: str, browser: Browser, open_page: Opens
) -> None:
    browser.look(motion=motion)
    open_page(busy_host())
    found = browser.run("return getComputedStyle(document.querySelector('.working .mark')).animationName")  # fmt: skip
    assert found == moves


def test_what_a_screen_reader_is_told(browser: Browser, open_page: Opens) -> None:
    open_page(busy_host())
    nodes = browser.tell("Accessibility.getFullAXTree")["nodes"]
    told: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            role = node["role"]["value"]
            told.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert "Checkpoints of web" in told["tree"]
    assert (
        "with-postgres, you are here, 412.0 MiB unsaved, clean, taken 24 h ago, 14.0 GiB"
        in told["treeitem"]
    )
    assert "other, waiting, ParentNotCurrent" in told["treeitem"]
    assert "bsd07" in told["heading"]
    assert any(name.startswith("web Stalled ParentNotCurrent") for name in told["heading"])
    assert told["searchbox"] == ["Find a VM, checkpoint, label or reason"]
    assert "VMs" in told["main"]
    for role in ("button", "link", "treeitem", "tree", "searchbox"):
        assert all(told.get(role, ["x"])), role


def test_the_shape_of_a_tree_is_told(browser: Browser, open_page: Opens) -> None:
    open_page(host_report((vm_report("web", scenarios.waits()),)))
    shape = {
        str(row.get_attribute("data-key")): tuple(
            int(str(row.get_attribute(f"aria-{key}"))) for key in ("level", "posinset", "setsize")
        )
        for row in browser.all("[role=treeitem]")
    }
    assert shape["base"] == (1, 1, 1)
    assert shape["with-postgres"] == (3, 1, 1)
    assert {shape["patched"], shape["other"]} == {(2, 1, 2), (2, 2, 2)}
    assert shape["last"] == (5, 1, 1)


# Large hosts


def test_ten_thousand_checkpoints_are_drawn_only_where_looked_at(
    browser: Browser, open_page: Opens
) -> None:
    vms = tuple(grown_tree(f"vm{number:03}", 50, 0) for number in range(200))
    open_page(host_report(vms))
    assert len(browser.all("#list > li")) == 200
    assert browser.run("return document.querySelectorAll('*').length") < 200 * 20
    browser.one("[data-vm=vm100] h2 button").click()
    assert len(browser.all(".node")) == 50
    browser.one("[data-vm=vm100] h2 button").click()
    assert browser.all(".node") == []
    browser.press("/")
    browser.press("step-49")
    browser.until(lambda: "200 VMs shown" in str(browser.one("#said").get_attribute("textContent")))
    assert browser.run("return document.querySelectorAll('*').length") < 200 * 20


def test_a_tree_of_thousands_is_drawn_in_parts(browser: Browser, open_page: Opens) -> None:
    open_page(host_report((grown_tree("web", 5000, 0),)))
    assert len(browser.all(".node")) == 300
    browser.one(".more").click()
    assert len(browser.all(".node")) == 600
    assert browser.run("return document.activeElement.getAttribute('role')") == "treeitem"


def test_a_guest_at_work_is_told_from_one_that_waits(live: Served, browser: Browser) -> None:
    at_work = Doing(work=Work.WORKING, since=AT, action="restore base")
    vm = replace(named(live.report, "git"), doing=at_work)
    live.report = exchanged(live.report, "git", vm)
    browser.ask_now()
    browser.until(lambda: "restore base" in browser.one("[data-vm=git]").text)
    assert "working" in str(browser.one("[data-vm=git]").get_attribute("class"))
