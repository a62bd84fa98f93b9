"""Reports of a whole host, made of the scenes that plans and trees are tested with."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reconciler.model.properties import Grade
from reconciler.names import Dataset, NodeName, VmName
from reconciler.render.host_view import DaemonFacts, Doing, HostReport, SourceFacts, VmReport, Work
from reconciler.render.status_view import status_view
from reconciler.render.tree_nodes import NodeView, Phase
from tests.unit.render import scenarios
from tests.unit.render.scenarios import Scene

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SCENES: Mapping[str, Callable[[], Scene]] = {
    "web": scenarios.waits,
    "db": scenarios.restore_saved,
    "mail": scenarios.after_restore,
    "shop": scenarios.lost,
    "build": scenarios.suspended,
    "far": scenarios.other_host,
    "git": scenarios.retired,
    "dns": scenarios.nothing_to_do,
    "files": scenarios.foreign,
}


def vm_report(name: str, scene: Scene, doing: Doing | None = None) -> VmReport:
    """What is shown of SCENE under another NAME."""
    status = status_view(scene.vm, scene.world.observe(scene.vm), scene.plan)
    return VmReport(
        status=replace(status, vm=VmName(name)),
        tree=replace(scene.tree, vm=VmName(name)),
        doing=doing,
    )


def daemon_facts(at: datetime = AT, **fields: object) -> DaemonFacts:
    facts = DaemonFacts(
        pid=71,
        started=at - timedelta(days=3),
        last_pass=at - timedelta(seconds=12),
        next_pass=at + timedelta(minutes=4),
        passes=914,
        missed=2,
        source=SourceFacts(place="/etc/ckptree/vms.d"),
        untold={"webhook": 3},
    )
    return replace(facts, **fields)  # type: ignore[arg-type]


def host_report(
    vms: tuple[VmReport, ...], at: datetime = AT, daemon: DaemonFacts | None = None
) -> HostReport:
    return HostReport(
        host="bsd07", version="0.1.0", at=at, vms=vms, released={}, faults=(), daemon=daemon
    )


def busy_host(at: datetime = AT) -> HostReport:
    """A host on which something of everything is going on."""
    doing = {
        "mail": Doing(work=Work.WORKING, since=at - timedelta(seconds=8), action="capture nightly"),
        "dns": Doing(
            work=Work.BACKING_OFF,
            since=at - timedelta(minutes=6),
            failures=4,
            error="tank/vm/dns/b-1: no space",
            retry=at + timedelta(seconds=40),
            pause=0.31,
        ),
    }
    idle = Doing(work=Work.IDLE, since=at - timedelta(hours=1), pause=0.12)
    vms = tuple(vm_report(name, scene(), doing.get(name, idle)) for name, scene in SCENES.items())
    report = host_report(vms, at, daemon_facts(at))
    return replace(
        report,
        faults=("/etc/ckptree/vms.d/new.yaml:6:1: unknown key 'colour' (remove it)",),
        released={Dataset("tank/vm/old"): VmName("old")},
    )


def grown_tree(name: str, named: int, automatic: int, at: datetime = AT) -> VmReport:
    """A VM with a tree of NAMED nodes that branches, and with AUTOMATIC ones between them."""
    report = vm_report(name, scenarios.nothing_to_do())
    nodes: list[NodeView] = []
    parent: NodeName | None = None
    for number in range(named):
        node = NodeName(f"step-{number}")
        nodes.append(_node(node, parent, at - timedelta(hours=named - number)))
        if number % 7:
            parent = node
        between, above = parent, parent
        for count in range(automatic // max(named, 1)):
            above = NodeName(f"auto-20261123T{number:02}{count:02}00Z")
            nodes.append(_node(above, between, at - timedelta(hours=named - number)))
            between = above
    nodes[-1] = replace(nodes[-1], here=True)
    tree = replace(report.tree, nodes=tuple(nodes), position=nodes[-1].name)
    phases = {phase: tree.count(phase) for phase in Phase}
    status = replace(report.status, position=nodes[-1].name, phases=phases)
    return VmReport(status=status, tree=tree)


def _node(name: NodeName, parent: NodeName | None, taken: datetime) -> NodeView:
    return NodeView(
        name=name,
        parent=parent,
        phase=Phase.PRESENT,
        desired=not name.automatic,
        grade=Grade.CLEAN,
        taken=taken,
        own_bytes=900 << 20,
        branch="b-1",
        snapshot=f"tank/vm/web/b-1@{name}",
        guid=1 << 62,
        about="a step on the way" if not name.automatic else "",
    )
