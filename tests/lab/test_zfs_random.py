"""The model against real ZFS: the same random operations on both, every result and state equal.

CKPTREE_ZFS_OPERATIONS sets how many operations each write path gets, CKPTREE_ZFS_SEED where the
sequences start. A failure prints its sequence; put that list into CKPTREE_ZFS_REPLAY to repeat it.
"""

import ast
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.zfs_world import Pool, RealWorld
from tests.unit.zfs.operations import Draw, Operation, apply, comparable, guids
from tests.unit.zfs.world import MemoryWorld, look

DEFAULT = {"pyzfs": 150, "command": 60}  # a few minutes in the lab; thousands are for a night
SEQUENCE = 125  # operations on one pool, before the next seed starts on a new one
STRIDE = 8  # operations between two comparisons of everything


class Pair:
    """The model and a real pool, to which the same things are done."""

    def __init__(self, directory: Path, write_path: str) -> None:
        self.pool = Pool(directory)
        self.real = RealWorld(self.pool, write_path)
        self.model = MemoryWorld(self.real.home, str(self.pool.mountpoint))
        self.translated: dict[int, int] = {}
        self.times: dict[str, list[float]] = {}
        self.results: Counter[tuple[str, str]] = Counter()
        self.compare()

    def end(self) -> None:
        self.real.end()
        self.pool.end()

    def do(self, operation: Operation) -> None:
        expected_guids = guids(look(self.model))
        known = {
            name: self.translated[guid]
            for name, guid in expected_guids.items()
            if guid in self.translated
        }
        if any(
            word.endswith(" right") and word[:-6] in expected_guids.keys() - known.keys()
            for word in operation
        ):
            self.compare()
            known = {name: self.translated[guid] for name, guid in expected_guids.items()}
        expected = apply(self.model, operation, expected_guids)
        start = time.monotonic()
        result = apply(self.real, operation, known)
        self.times.setdefault(operation[0], []).append(time.monotonic() - start)
        self.results[operation[0], result] += 1
        assert result == expected

    def compare(self) -> None:
        real, model = look(self.real), look(self.model)
        assert comparable(real) == comparable(model)
        theirs = guids(real)
        for name, guid in guids(model).items():
            assert self.translated.setdefault(guid, theirs[name]) == theirs[name], name
        assert len(set(self.translated.values())) == len(self.translated)


def run(pair: Pair, operations: list[Operation]) -> None:
    """Do OPERATIONS and compare after each; for replays."""
    for operation in operations:
        pair.do(operation)
        pair.compare()


@pytest.mark.parametrize("write_path", sorted(DEFAULT))
def test_the_model_and_zfs_agree(
    tmp_path: Path, write_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = int(os.environ.get("CKPTREE_ZFS_OPERATIONS", DEFAULT[write_path]))
    first = int(os.environ.get("CKPTREE_ZFS_SEED", "1"))
    times: dict[str, list[float]] = {}
    results: Counter[tuple[str, str]] = Counter()
    done = 0
    while done < wanted:
        seed = first + done // SEQUENCE
        history: list[Operation] = []
        pair = Pair(tmp_path, write_path)
        draw = Draw(seed, pair.model, whole=write_path == "pyzfs")
        try:
            for number in range(min(SEQUENCE, wanted - done)):
                history.append(draw.next())
                pair.do(history[-1])
                if number % STRIDE == STRIDE - 1:
                    pair.compare()
            pair.compare()
        except BaseException:
            text = repr(history).replace(pair.real.home, "HOME")
            with capsys.disabled():
                print(f"\nseed {seed}, {write_path}: CKPTREE_ZFS_REPLAY={text!r}")  # noqa: T201
            raise
        finally:
            pair.end()
        done += len(history)
        results += pair.results
        for kind, taken in pair.times.items():
            times.setdefault(kind, []).extend(taken)
    with capsys.disabled():
        print(f"\n{done} operations through {write_path}, seeds from {first}")  # noqa: T201
        for kind in sorted(times):
            outcome = {result: count for (what, result), count in results.items() if what == kind}
            median = sorted(times[kind])[len(times[kind]) // 2] * 1000
            print(f"  {kind:10} median {median:6.0f} ms  {outcome}")  # noqa: T201


if "CKPTREE_ZFS_REPLAY" in os.environ:

    @pytest.mark.parametrize("write_path", sorted(DEFAULT))
    def test_replay(tmp_path: Path, write_path: str) -> None:
        pair = Pair(tmp_path, write_path)
        text = os.environ["CKPTREE_ZFS_REPLAY"].replace("HOME", pair.real.home)
        try:
            run(pair, ast.literal_eval(text))
        finally:
            pair.end()
