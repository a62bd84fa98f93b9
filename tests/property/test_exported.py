"""A plan from an exported observation is the plan of the host, whatever has happened there."""

import json
import os
from contextlib import suppress

from hypothesis import HealthCheck, settings

from reconciler.errors import CkptreeError
from reconciler.plan.exported import observation_json, read_observations
from reconciler.plan.planner import make_plan
from tests.support.faults import Fuse, PowerCut
from tests.support.life import Deeds
from tests.support.world import MANAGED

EXAMPLES = os.environ.get("CKPTREE_EXAMPLES")


class Exports(Deeds):
    """The life of a VM that is exported after each deed, also half-way through an apply and half unreadable."""

    volumes = ("disk1",)
    ability = MANAGED

    def then(self, then: str, at: int) -> None:
        """Export before and after THEN; the power goes at AT."""
        self._same()
        with suppress(CkptreeError, PowerCut):
            fuse = Fuse(at % 30) if then == "cut" else None
            vm = self.operator.file()
            self.world.apply(vm, confirm=then == "confirm", purge=then == "purge", fuse=fuse)
        if then == "blind":
            self.world.blind(at)
        self._same()
        self.world.blind_to = None

    def _same(self) -> None:
        vm, now = self.operator.file(), self.world.now
        seen = self.world.observe(vm)
        text = json.dumps({"trees": [{"observation": observation_json(seen, now)}]})
        (back,) = read_observations(text, "seen.json")
        assert back.observation == seen
        assert back.at == now
        assert make_plan(vm, back.observation, back.at) == make_plan(vm, seen, now)


TestExports = Exports.TestCase
TestExports.settings = settings(
    max_examples=int(EXAMPLES or 15),
    stateful_step_count=25,
    deadline=None,
    derandomize=EXAMPLES is None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
