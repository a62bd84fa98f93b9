"""The contract on real ZFS, through both write paths."""

from collections.abc import Iterator

import pytest

from reconciler.drivers.zfs.choose import choose
from reconciler.drivers.zfs.library import available
from tests.lab.zfs_world import WRITE_PATHS, Pool, RealWorld
from tests.unit.zfs.contract import ZfsContract
from tests.unit.zfs.world import World


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp("scratch"))
    yield pool
    pool.end()


@pytest.mark.parametrize("write_path", sorted(WRITE_PATHS), scope="class")
class TestReal(ZfsContract):
    @pytest.fixture
    def world(self, scratch: Pool, write_path: str) -> Iterator[World]:
        world = RealWorld(scratch, write_path)
        yield world
        world.end()


def test_the_lab_has_pyzfs() -> None:
    assert available() is None
    assert choose("auto").zfs.name == "pyzfs"
