"""The contract on the model."""

import pytest

from reconciler.errors import ZfsErrorKind
from tests.unit.zfs.contract import Tree, ZfsContract, refused
from tests.unit.zfs.world import MemoryWorld, World


class TestMemory(ZfsContract):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    def test_a_clone_that_zfs_would_not_refuse(self, world: World, tree: Tree) -> None:
        new = world.home.child("new")
        with refused(ZfsErrorKind.INVALID):
            world.zfs.clone(tree.one, new, {}, volume=True)
        with refused(ZfsErrorKind.INVALID):
            world.zfs.clone(tree.volume.snapshot("one"), new, {}, volume=False)
        with refused(ZfsErrorKind.INVALID):
            world.zfs.clone(tree.one, tree.volume.child("x"), {}, volume=False)
