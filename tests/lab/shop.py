"""A shop of VMs whose checkpoints belong together: two that run, and one that is off."""

from collections.abc import Iterator
from pathlib import Path

from tests.lab.live import QEMU, Live
from tests.lab.operator import Outcome


class Shop:
    """Three VMs: web and db run, files is off; without FILES only the first two."""

    def __init__(self, pool: str, folder: Path, *, files: bool) -> None:
        self.web = Live(f"{pool}/web", folder, QEMU, port=7011)
        self.db = Live(f"{pool}/db", folder, QEMU, name="db", port=7012)
        self.all: tuple[Live, ...] = (self.web, self.db)
        if files:
            self.all = (*self.all, Live(f"{pool}/files", folder, QEMU, name="files", port=7013))
        self.running = (self.web, self.db)

    def write(self, tree: str, *keys: str) -> None:
        for vm in self.all:
            vm.document_of(tree, *keys)

    def apply(self, code: int = 0) -> Outcome:
        return self.web.apply(code=code)

    def instants(self, node: str) -> set[str]:
        return {vm.get(vm.node(node), "createtxg") for vm in self.all}

    def taken(self, node: str) -> list[str]:
        return [
            vm.name
            for vm in self.all
            if any(vm.get(s, "ckptree:node") == node for s in vm.snapshots())
        ]

    def count_on(self) -> None:
        for vm in self.running:
            vm.counts(1)

    @classmethod
    def open(cls, pool: str, folder: Path, *, files: bool) -> Iterator["Shop"]:
        """Make the VMs, start those that run, and switch them off at the end."""
        documents = folder / "vms"
        documents.mkdir()
        shop = cls(pool, documents, files=files)
        shop.web.has_a_monitor()
        for vm in shop.all:
            vm.make()
        for vm in shop.running:
            vm.start()
        yield shop
        for vm in shop.running:
            vm.end()
