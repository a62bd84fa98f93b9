"""The life of a VM at random: what its operator, its guest, other tools, people and the power do to it.

Rules for Hypothesis; what must be true after each of them is said in ``tests/property/test_invariants.py``.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.errors import ZfsRefused
from reconciler.model import properties
from reconciler.model.desired import MemoryWish, Prune, PruneMode, Schedule, Unsaved, When
from reconciler.model.journal import Forgotten, facts_of
from reconciler.model.observed import GuestState, LinkAbsent, LinkTo, Running
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.model.tree import Branch, Node
from reconciler.names import NodeName
from reconciler.simulate.guest import memory_of, with_memory
from tests.support.operator import Operator
from tests.support.picture import POOL
from tests.support.world import HOME, UNMANAGED, World

pick = st.integers(0, 60)
name = st.sampled_from([f"n{number}" for number in range(9)])
chance = st.booleans()


THEN = st.sampled_from(
    ["apply", "apply", "apply", "confirm", "purge", "cut", "cut", "cut", "nothing", "blind"]
)
P = ParamSpec("P")


def step(
    **drawn: st.SearchStrategy[Any],
) -> Callable[[Callable[Concatenate["Deeds", P], None]], Any]:
    """A rule: the deed, and then mostly an apply, with or without a power cut."""

    def decorate(deed: Callable[Concatenate["Deeds", P], None]) -> Any:  # noqa: ANN401
        def done(self: "Deeds", then: str, at: int, *words: P.args, **named: P.kwargs) -> None:
            deed(self, *words, **named)
            self.then(then, at)

        done.__name__ = deed.__name__
        untyped: Any = rule
        return untyped(then=THEN, at=st.integers(0, 400), **drawn)(done)

    return decorate


class Deeds(RuleBasedStateMachine):
    """All that can happen to a VM; ``then`` applies the file after each deed."""

    volumes: tuple[str, ...] = ()
    ability = UNMANAGED
    purging = False

    def then(self, then: str, at: int) -> None:
        """Apply the file, as THEN says; the power goes at AT."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = World(self.volumes, self.ability)
        self.operator = Operator(self.world.volumes)
        self.written = 0
        self.given_up: set[str] = set()

    # The operator's edits

    def _node(self, number: int) -> NodeName | None:
        names = self.operator.names
        return names[number % len(names)] if names else None

    @step(texts=st.lists(name, min_size=1, max_size=3, unique=True), number=pick)
    def add_chain_here(self, texts: list[str], number: int) -> None:
        tree = self.world.tree
        here = [
            node.name for node in tree.ancestors(tree.position) if node.name in self.operator.nodes
        ]
        parent = here[0] if here else None
        fresh = [text for text in texts if number % 7 == 0 or text not in self._spent()]
        for text in fresh:
            self.operator.add(text, parent)
            parent = NodeName(text)
            if parent not in self.operator.nodes:
                return

    def _spent(self) -> set[NodeName]:
        return {*facts_of(self.world.journal.records).realised, *self.world.tree.nodes}

    @step(text=name, number=pick, fork=chance, odd=st.sampled_from([0, 0, 0, 1, 2]))
    def add_anywhere(self, text: str, number: int, odd: int, *, fork: bool) -> None:
        wishes: tuple[dict[str, object], ...] = (
            {"fork": fork}, {"when": When.MANUAL}, {"memory": MemoryWish.REQUIRED},
        )  # fmt: skip
        self.operator.add(text, self._node(number), **wishes[odd])

    @step(texts=st.lists(name, min_size=1, max_size=3, unique=True), number=pick)
    def fork_chain(self, texts: list[str], number: int) -> None:
        parent = self._node(number)
        for text in texts:
            if parent is not None and text not in self._spent():
                self.operator.add(text, parent, fork=True)
                parent = NodeName(text) if number % 2 else parent

    @step(text=name, number=pick, spelled=pick, below=st.sampled_from([True, True, False]))
    def adopt(self, text: str, number: int, spelled: int, *, below: bool) -> None:
        self._manual_snapshot(number, "set", f"manual{self.written}-{number}")
        self.guest("write")
        tree = self.world.tree
        found = [
            (b, s)
            for b in tree.branches
            for s in b.foreign_snapshots
            if s.name.dataset == b.facts.name
        ]
        if not found or text in self._spent():
            return
        branch, facts = found[spelled % len(found)]
        texts = (facts.name.short, str(facts.name), f"{branch.facts.name.leaf}@{facts.name.short}")
        parent = self._node(number)
        for other in self.operator.names:
            stuck = other in self.operator.nodes and self.operator.nodes[other].adopt is not None
            if stuck and other not in tree.nodes and number % 4:
                self.operator.remove(other, keep_children=False)
        if below:
            ours = [n for n in branch.nodes if tree.nodes[n].snapshot.createtxg < facts.createtxg]
            parent = next((n for n in reversed(ours) if n in self.operator.nodes), parent)
        self.operator.add(text, parent, adopt=texts[spelled % 3])
        if number % 3 == 0 and NodeName(text) in self.operator.nodes:
            for (
                other
            ) in self.operator.names:  # the file as it must be for a node between two others
                node = tree.nodes.get(other)
                if node is not None and node.branch == branch.facts.name and node.parent == parent:
                    self.operator.move(other, NodeName(text))

    @step(number=pick, splice=chance)
    def remove(self, number: int, *, splice: bool) -> None:
        node = self._node(number)
        if node is not None:
            self.operator.remove(node, keep_children=splice)
        if number == 7:
            self.operator.clear()

    @step(
        number=pick,
        texts=st.lists(name, min_size=1, max_size=2),
        say_so=st.sampled_from([True, True, False]),
    )
    def rename(self, number: int, texts: list[str], *, say_so: bool) -> None:
        for more, text in enumerate(texts):
            node = self._node(number + more)
            if node is not None and text not in self._spent():
                self.operator.rename(node, text, say_so=say_so)

    @step(number=pick, to=pick, deed=st.sampled_from(["move", "suspend", "current", "policy"]))
    def odd_edit(self, number: int, to: int, deed: str) -> None:
        node = self._node(number)
        automatic = [node for node in self.world.tree.nodes if node.automatic]
        odd = [None, NodeName("auto-19700101T000000Z-before-n1"), *automatic]
        if deed == "move" and node is not None:
            self.operator.move(node, None if to % 5 == 0 else self._node(to))
        elif deed == "suspend":
            self.operator.suspend = not self.operator.suspend
        elif deed == "current":
            self.operator.current = [node, *odd][to % (len(odd) + 1)]

    @step()
    def agree(self) -> None:
        """The operator does what the messages say would resolve what waits."""
        tree, operator = self.world.tree, self.operator
        operator.suspend = False
        for node in operator.names:
            if node in operator.nodes and node not in tree.nodes and node in self._spent():
                operator.remove(node, keep_children=True)
        for node in operator.names:
            if node in tree.nodes:
                below = tree.ancestors(tree.nodes[node].parent)
                parent = next((other.name for other in below if other.name in operator.nodes), None)
                operator.nodes[node] = replace(operator.nodes[node], parent=parent, was=None)
                if parent is None:
                    operator.change(node, fork=False)
        for node in operator.names:
            wanted = operator.nodes.get(node)
            if wanted is not None and node not in tree.nodes and wanted.adopt is not None:
                operator.remove(node, keep_children=False)
        if operator.current not in {None, tree.position} and operator.current not in operator.nodes:
            operator.current = None

    @step(
        number=pick,
        field=st.sampled_from(["protect", "about", "was", "fork", "when", "adopt"]),
        on=chance,
    )
    def change(self, number: int, field: str, *, on: bool) -> None:
        node = self._node(number)
        if node is None:
            return
        values: dict[str, object] = {
            "protect": on, "about": f"tab\there {number}" if on else "", "was": None, "fork": on,
            "when": When.NOW, "adopt": None,
        }  # fmt: skip
        self.operator.change(node, **{field: values[field]})

    @step(number=pick, writes=chance, again=st.sampled_from([False, False, True]))
    def go_to(self, number: int, *, writes: bool, again: bool) -> None:
        """The operator sends the guest to another node."""
        if writes:
            self.guest("write")
        if number % 4:
            self._stop()
        there = [n for n in self.world.tree.nodes if n in self.operator.nodes]
        self.operator.current = there[number % len(there)] if there else None
        if again:
            self.operator.restore = replace(self.operator.restore, again=str(self.written))

    @step(unsaved=st.sampled_from(Unsaved))
    def restore_policy(self, unsaved: Unsaved) -> None:
        self.operator.restore = replace(self.operator.restore, unsaved=unsaved)

    @step(
        mode=st.sampled_from([PruneMode.AUTO, *PruneMode]),
        limit=st.sampled_from([0, 1, 5]),
        hours=st.sampled_from([0, 0, 24]),
    )
    def prune(self, mode: PruneMode, limit: int, hours: int) -> None:
        self.operator.prune = Prune(mode=mode, limit=limit, grace=timedelta(hours=hours))

    @step(
        number=pick,
        hours=st.sampled_from([-30, 1, 30, 200]),
        how=st.sampled_from(["on", "keep", "off"]),
    )
    def date(self, number: int, hours: int, how: str) -> None:
        """The operator says until when a node is wanted, or that it is for good."""
        node, span = self._node(number), timedelta(hours=hours)
        if node is None:
            return
        expires = self.world.now + span if how == "on" else None
        self.operator.change(node, expires=expires, keep=abs(span) if how == "keep" else None)

    @step(every=st.sampled_from([None, 1, 30]), keep=st.sampled_from([1, 50]), memory=chance)
    def schedule(self, every: int | None, keep: int, *, memory: bool) -> None:
        """The operator wants automatic checkpoints, or no more."""
        wish = MemoryWish.AUTO if memory else MemoryWish.NEVER
        self.operator.schedule = (
            None
            if every is None
            else Schedule(every=timedelta(hours=every), keep=timedelta(hours=keep), memory=wish)
        )

    # The guest

    def _content(self) -> str:
        self.written += 1
        return f"w{self.written}"

    @step(deed=st.sampled_from(["write", "write", "write", "start", "start unseen", "stop"]))
    def guest_lives(self, deed: str) -> None:
        self.guest(deed)

    def guest(self, deed: str) -> None:
        """Let the guest write, start or stop."""
        tree, files = self.world.tree, self.world.files
        head = tree.head
        if files.guest.running is not Running.OFF and files.guest_branch is not None:
            head = tree.branch(HOME.child(files.guest_branch))
        if deed == "stop":
            self._stop()
        elif head is None:
            return
        elif deed == "write":
            self._write(head, self._content())
        elif head.facts.mounted and files.guest.running is Running.OFF:
            files.guest_branch = head.facts.name.leaf
            known = Running.RUNNING if deed == "start" else Running.UNKNOWN
            files.guest = GuestState(known, "bhyve (pid 42)")
            for facts in head.datasets:
                self.world.zfs.open(facts.name)

    def _write(self, branch: Branch, content: str) -> None:
        for facts in branch.datasets:
            files = memory_of(self.world.zfs.content(facts.name))
            self.world.zfs.write(facts.name, with_memory(content, files), 4096)

    def _stop(self) -> None:
        files = self.world.files
        branch = (
            self.world.tree.branch(HOME.child(files.guest_branch)) if files.guest_branch else None
        )
        if branch is not None and files.guest.running is not Running.OFF:
            for facts in branch.datasets:
                self.world.zfs.close(facts.name)
        files.guest, files.guest_branch = GuestState(Running.OFF), None

    # Other people and tools

    def _branch(self, number: int, *, dormant: bool = False) -> Branch | None:
        tree = self.world.tree
        found = [
            b
            for b in tree.branches
            if not (dormant and tree.head is not None and b.facts == tree.head.facts)
        ]
        return found[number % len(found)] if found else None

    def _existing(self, number: int) -> Node | None:
        found = list(self.world.tree.nodes.values())
        return found[number % len(found)] if found else None

    def _tolerate(self, deed: Callable[[], None]) -> None:
        with suppress(ZfsRefused):
            deed()

    def _manual_snapshot(self, number: int, where: str, short: str) -> None:
        branch = self._branch(number)
        if branch is None:
            return
        datasets = {
            "set": branch.datasets, "branch": branch.datasets[:1], "volumes": branch.volumes,
            "home": (self.world.zfs.read([HOME])[HOME].datasets[0],),
        }[where]  # fmt: skip
        self._tolerate(
            lambda: self.world.zfs.snapshot([f.name.snapshot(short) for f in datasets], {})
        )

    @step(
        number=pick,
        where=st.sampled_from(["set", "branch", "volumes", "home"]),
        text=name,
        taken=chance,
    )
    def manual_snapshot(self, number: int, where: str, text: str, *, taken: bool) -> None:
        self._manual_snapshot(number, where, text if taken else f"manual{self.written}")

    @step(number=pick, deed=st.sampled_from(["clone", "clone inside", "branch", "hold"]))
    def foreign_thing(self, number: int, deed: str) -> None:
        zfs, node = self.world.zfs, self._existing(number)
        if deed == "branch":
            self._tolerate(lambda: zfs.create(HOME.child(f"b-{1 + number % 9}"), {}, canmount="on"))
        elif node is None:
            return
        elif deed == "hold":
            zfs.hold_as("backup", [node.snapshot.name])
        else:
            facts = node.all_snapshots[number % len(node.all_snapshots)]
            above = POOL if deed == "clone" else HOME
            target = above.child(f"b-{1 + number % 7}" if number % 2 else f"clone{number}")
            self._tolerate(
                lambda: zfs.clone(facts.name, target, {}, volume=facts is not node.snapshot)
            )

    @step(number=pick)
    def foreign_things_go(self, number: int) -> None:
        reading = self.world.zfs.read([POOL])[POOL]
        for facts in reading.snapshots:
            self.world.zfs.release_as("backup", [facts.name])
            ref = SnapshotRef(facts.name)
            if properties.NODE not in facts.properties and number % 2:
                self._tolerate(partial(self.world.zfs.destroy, [ref]))
        for dataset in reading.datasets:
            if dataset.origin is not None and properties.BRANCH not in dataset.properties:
                self._tolerate(partial(self.world.zfs.destroy, [DatasetRef(dataset.name)]))

    @step(
        number=pick,
        deed=st.sampled_from(
            ["release", "link", "head", "head", "node", "write", "write", "journal", "full"]
        ),
    )
    def misfortune(self, number: int, deed: str) -> None:
        node, zfs = self._existing(number), self.world.zfs
        if deed == "release" and node is not None:
            zfs.release([facts.name for facts in node.all_snapshots])
        elif deed == "node" and node is not None:
            self._tolerate(lambda: zfs.destroy(node.refs))
        elif deed == "link":
            branch = self._branch(number)
            absent = number % 4 == 0 or branch is None
            self.world.files.link = LinkAbsent() if absent else LinkTo(branch.facts.name.leaf)  # type: ignore[union-attr]
        elif deed == "head":
            self._destroy_head()
        elif deed == "write":
            branch = self._branch(number, dormant=True)
            if branch is not None:
                zfs.mount(branch.facts.name)
                self._write(branch, self._content())
        elif deed == "journal":
            self.world.journal.records = None
        elif deed == "full":
            zfs.set_full(full=True)

    def _destroy_head(self) -> None:
        self._stop()
        head, zfs = self.world.tree.head, self.world.zfs
        if head is None or len(self.world.tree.branches) == 1:
            return
        own = {facts.name for facts in head.datasets}
        reading = zfs.read([HOME])[HOME]
        snapshots = [s.name for s in reading.snapshots if s.name.dataset in own]
        targets: list[Ref] = [SnapshotRef(name) for name in snapshots]
        targets += [DatasetRef(facts.name) for facts in reversed(head.datasets)]

        def destroy() -> None:
            zfs.unmount(head.facts.name)
            zfs.destroy(targets)

        self._tolerate(destroy)

    @step(hours=st.sampled_from([1, 1, 30, 100, -50]))
    def time_passes(self, hours: int) -> None:
        """Time passes, or somebody sets the clock back."""
        self.world.zfs.set_full(full=False)
        self.world.pass_time(hours=hours)

    @step(text=name)
    def a_person_helps(self, text: str) -> None:
        self.world.zfs.set_full(full=False)
        plan = self.world.plan(self.operator.file())
        if plan.approval is not None:
            self.world.approve(plan)
        elif NodeName(text) not in self.world.tree.nodes:
            self.world.journal.append(Forgotten(at="", by="test", node=NodeName(text)))
