"""Whatever is in a file: the loader answers with a VM or with findings, the same on every host."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.desired import (
    DesiredNode,
    DesiredVm,
    Disk,
    FileDisk,
    MemoryWish,
    Prune,
    PruneMode,
    RestorePolicy,
    Schedule,
    SourcePosition,
    Unsaved,
    VolumeDisk,
    When,
)
from reconciler.model.windows import Window, Windows
from reconciler.names import Dataset, NodeName, VmName
from reconciler.spec.findings import Finding
from reconciler.spec.load import load_text
from reconciler.spec.windows import DAYS

UNHURRIED = settings(deadline=None)  # the time says more about the machine than about the loader
NOWHERE = SourcePosition("f", 1, 1)
VALID = """\
# a comment
vm: web
dataset: tank/vm/web
disks: [disk0.img, {zvol: disk1}]
hypervisor: none
current: patched
prune: {mode: confirm, grace: 7d, limit: 2}
restore: {again: 2}
hooks:
  before-checkpoint: {run: [/bin/freeze, "web?"], timeout: 1m}
schedule: {every: 24h, keep: 7d}
windows: {zone: Europe/Berlin, pause: [{days: [sat], from: 22:00, until: 06:00}]}
checkpoints:
  base:
    about: |
      two
      lines
    labels: {change: 'CHG-1'}
    checkpoints:
      patched: {expires: 2026-12-24, protect: true}
      "1.10": {keep: 1h30m}
"""
TOKENS = st.sampled_from(
    [*" \n:-?,[]{}#&*!|>'\"%@`~\t\\<", "\n  ", "\n    ", ": ", " #", "- ", "---\n", "...\n", "\r\n",
     "<<", "!!str ", "&a ", "*a", "|2", ">-\n", "vm", "web", "dataset", "tank/vm/web", "disks", "no",
     "checkpoints", "base", "checkpoints", "base", "about", "expires", "2026-12-24", "1.10", "012", "é",
     "😀", "\u2028", "\ufeff", '"\\x41"', '"\\ud800"', '"\\U99999999"', "vm: web\n", "disks: [a]\n",
     "checkpoints:\n"]
)  # fmt: skip
SOUP = st.lists(TOKENS, max_size=40).map("".join)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith("auto-")
)
PRINTABLE = st.characters(
    exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp"),
    exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
)
TEXTS = st.text(PRINTABLE, max_size=60)


def load_on_both_hosts(data: str | bytes) -> DesiredVm | tuple[Finding, ...]:
    """Load DATA, and assert that a host without libyaml gives the same."""
    fast = load_text(data, "f")
    if hasattr(yaml, "CSafeLoader"):
        loader = yaml.CSafeLoader
        try:
            del yaml.CSafeLoader
            pure = load_text(data, "f")
        finally:
            yaml.CSafeLoader = loader  # type: ignore[misc]
        assert fast == pure
    if isinstance(fast, tuple):
        lines = data.count(b"\n" if isinstance(data, bytes) else "\n") + 1  # type: ignore[arg-type]
        for finding in fast:
            assert 1 <= finding.position.line <= lines
            assert finding.position.column >= 1
            assert finding.message
            assert finding.hint
            assert "\n" not in str(finding)
            str(finding).encode("utf-8")
    return fast


@UNHURRIED
@given(st.binary(max_size=200))
def test_invariant_10_any_bytes_give_findings_and_never_a_traceback(data: bytes) -> None:
    load_on_both_hosts(data)


@UNHURRIED
@given(SOUP)
def test_invariant_10_any_pieces_of_yaml_give_the_same_on_every_host(text: str) -> None:
    load_on_both_hosts(text)


@UNHURRIED
@given(SOUP)
def test_invariant_10_anything_below_a_valid_head_gives_the_same_on_every_host(text: str) -> None:
    load_on_both_hosts(f"vm: web\ndataset: tank/vm/web\ndisks: [a]\ncheckpoints: {text}")


@UNHURRIED
@given(
    st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 6), TOKENS | st.just("")),
        min_size=1,
        max_size=4,
    )
)
def test_invariant_10_a_damaged_document_gives_the_same_on_every_host(
    damages: list[tuple[int, int, str]],
) -> None:
    text = VALID
    for start, length, replacement in damages:
        text = text[:start] + replacement + text[start + length :]
    load_on_both_hosts(text)


def test_the_document_that_is_damaged_above_is_valid() -> None:
    assert isinstance(load_on_both_hosts(VALID), DesiredVm)


@st.composite
def trees(draw: st.DrawFn) -> tuple[DesiredNode, ...]:
    """Any valid tree, parents before children."""
    names = draw(st.lists(NAMES, unique=True, max_size=12))
    free = [f"was-{number}" for number in range(len(names)) if f"was-{number}" not in names]
    nodes: list[DesiredNode] = []
    for name in names:
        # Only along the last line, so that the order of the list is the order of the file.
        line = _line(nodes)
        parent: NodeName | None = draw(st.sampled_from([None, *line]))
        node = DesiredNode(
            name=NodeName(name),
            parent=parent,
            position=NOWHERE,
            about=draw(TEXTS),
            labels=tuple(draw(st.dictionaries(NAMES, TEXTS, max_size=3)).items()),
            protect=draw(st.booleans()),
            memory=draw(st.sampled_from([MemoryWish.AUTO, MemoryWish.NEVER])),
            when=draw(st.sampled_from(When)),
            fork=draw(st.booleans()) if parent else False,
            was=NodeName(free.pop()) if bool(free) and draw(st.booleans()) else None,
        )
        end = draw(st.sampled_from(["expires", "keep", "neither"]))
        if end == "expires":
            moments = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1))  # noqa: DTZ001
            node = replace(node, expires=draw(moments).replace(microsecond=0, tzinfo=UTC))
        elif end == "keep":
            node = replace(node, keep=timedelta(seconds=draw(st.integers(1, 10**8))))
        nodes.append(node)
    return tuple(nodes)


def _line(nodes: list[DesiredNode]) -> list[NodeName]:
    by_name = {node.name: node for node in nodes}
    line: list[NodeName] = []
    current = nodes[-1].name if nodes else None
    while current is not None:
        line.append(current)
        current = by_name[current].parent
    return line


@st.composite
def machines(draw: st.DrawFn) -> DesiredVm:
    """Any valid VM with such a tree."""
    nodes = draw(trees())
    disks: list[Disk] = [FileDisk("disk0.img"), VolumeDisk("disk1"), FileDisk("folder/disk2")]
    return DesiredVm(
        vm=VmName(draw(NAMES)),
        dataset=Dataset("tank/vm/" + draw(NAMES.filter(lambda name: not name.startswith("b-")))),
        disks=tuple(draw(st.lists(st.sampled_from(disks), unique=True, min_size=1))),
        nodes=nodes,
        position=NOWHERE,
        digest="",
        current=draw(st.sampled_from([None, *(node.name for node in nodes)])),
        prune=Prune(
            mode=draw(st.sampled_from(PruneMode)),
            grace=timedelta(seconds=draw(st.integers(0, 10**8))),
            limit=draw(st.integers(0, 1000)),
        ),
        restore=RestorePolicy(
            again=draw(st.none() | TEXTS.filter(bool)), unsaved=draw(st.sampled_from(Unsaved))
        ),
        suspend=draw(st.booleans()),
        schedule=draw(st.none() | SCHEDULES),
        windows=Windows(paused=draw(st.none() | WINDOWS), destroyed=draw(st.none() | WINDOWS)),
    )


SCHEDULES = st.builds(
    Schedule,
    every=st.integers(60, 10**8).map(lambda number: timedelta(seconds=number)),
    keep=st.integers(1, 10**8).map(lambda number: timedelta(seconds=number)),
    memory=st.sampled_from([MemoryWish.NEVER, MemoryWish.AUTO]),
)
HOURS = st.builds(time, st.integers(0, 23), st.integers(0, 59))
WINDOWS = st.lists(
    st.builds(
        Window,
        days=st.frozensets(st.integers(0, 6), min_size=1),
        start=HOURS,
        end=HOURS,
        zone=st.just("Europe/Berlin"),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def window_data(window: Window) -> dict[str, Any]:
    return {
        "days": [DAYS[number] for number in sorted(window.days)],
        "from": f"{window.start:%H:%M}",
        "until": f"{window.end:%H:%M}",
    }


def seconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds())}s"


def node_data(vm: DesiredVm, node: DesiredNode) -> dict[str, Any]:
    data: dict[str, Any] = {
        "about": node.about,
        "labels": dict(node.labels),
        "protect": node.protect,
        "memory": node.memory.value,
        "when": node.when.value,
        "fork": node.fork,
        "checkpoints": tree_data(vm, node.name),
    }
    if node.expires:
        data["expires"] = node.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    if node.keep:
        data["keep"] = seconds(node.keep)
    if node.was:
        data["was"] = node.was
    return data


def tree_data(vm: DesiredVm, parent: NodeName | None) -> dict[str, Any]:
    return {str(node.name): node_data(vm, node) for node in vm.children(parent)}


def vm_data(vm: DesiredVm) -> dict[str, Any]:
    data: dict[str, Any] = {
        "vm": vm.vm,
        "dataset": vm.dataset,
        "disks": [
            {"zvol": disk.name} if isinstance(disk, VolumeDisk) else disk.path for disk in vm.disks
        ],
        "prune": {
            "mode": vm.prune.mode.value,
            "grace": seconds(vm.prune.grace),
            "limit": vm.prune.limit,
        },
        "restore": {"unsaved": vm.restore.unsaved.value},
        "suspend": vm.suspend,
        "checkpoints": tree_data(vm, None),
    }
    if vm.schedule:
        data["schedule"] = {
            "every": seconds(vm.schedule.every),
            "keep": seconds(vm.schedule.keep),
            "memory": vm.schedule.memory.value,
        }
    kinds = (("pause", vm.windows.paused), ("destroy", vm.windows.destroyed))
    written = {kind: [window_data(w) for w in found] for kind, found in kinds if found}
    if written:
        data["windows"] = {**written, "zone": "Europe/Berlin"}
    if vm.current:
        data["current"] = vm.current
    if vm.restore.again:
        data["restore"]["again"] = vm.restore.again
    return data


def as_block(value: object, indent: str) -> Iterator[str]:
    """Write VALUE as indented YAML lines with every text in double quotes."""
    assert isinstance(value, dict)
    for key, below in value.items():
        if isinstance(below, dict) and below:
            yield f"{indent}{json.dumps(key, ensure_ascii=False)}:"
            yield from as_block(below, f"{indent}  ")
        else:
            written = json.dumps(below, ensure_ascii=False)
            yield f"{indent}{json.dumps(key, ensure_ascii=False)}: {written}"


def placeless(vm: DesiredVm) -> DesiredVm:
    nodes = tuple(replace(node, position=NOWHERE) for node in vm.nodes)
    return replace(vm, nodes=nodes, position=NOWHERE, digest="")


@UNHURRIED
@given(machines(), st.booleans())
def test_a_tree_that_is_written_and_loaded_is_the_same_tree(vm: DesiredVm, flow: bool) -> None:
    data = vm_data(vm)
    text = json.dumps(data, ensure_ascii=False) if flow else "\n".join(as_block(data, ""))
    loaded = load_on_both_hosts(text)
    assert isinstance(loaded, DesiredVm), (text, [str(finding) for finding in loaded])
    assert placeless(loaded) == vm


@UNHURRIED
@given(st.lists(TEXTS.map("text {}".format), min_size=1, max_size=5))
def test_text_that_other_programs_write_is_understood(texts: list[str]) -> None:
    document = {
        "vm": "web",
        "dataset": "tank/vm/web",
        "disks": ["disk0.img"],
        "checkpoints": {f"n{number}": {"about": text} for number, text in enumerate(texts)},
    }
    loaded = load_on_both_hosts(yaml.safe_dump(document, allow_unicode=True, width=40))
    assert isinstance(loaded, DesiredVm), [str(finding) for finding in loaded]
    assert [node.about for node in loaded.nodes] == texts
