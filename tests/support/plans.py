"""Short words for tests about plans: files, what a plan does, why it does not."""

from datetime import timedelta

from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm, Prune, RestorePolicy, Unsaved
from reconciler.model.observed import GuestState, Running
from reconciler.model.plan import Plan, Reason
from reconciler.names import NodeName
from tests.support.world import Nested, World, desired

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
LINE: Nested = {"a": {"b": {"c": {}}}}
SOON = Prune(grace=timedelta(0))
DISCARD = RestorePolicy(unsaved=Unsaved.DISCARD)


def kinds(plan: Plan) -> list[type[Action]]:
    return [type(action) for action in plan.actions]


def reasons(plan: Plan) -> list[Reason]:
    return [condition.reason for condition in plan.conditions]


def message(plan: Plan, reason: Reason) -> str:
    """The one condition with REASON: what it says and what would resolve it."""
    (found,) = [condition for condition in plan.conditions if condition.reason is reason]
    return f"{found.message} -> {found.resolve}"


def world_with(*files: DesiredVm, volumes: tuple[str, ...] = ()) -> World:
    world = World(volumes)
    for number, file in enumerate(files):
        world.write(f"w{number}")
        world.apply(file)
    return world


def line(**fields: object) -> DesiredVm:
    return desired(LINE, None, **fields)


def running(world: World) -> None:
    world.files.guest = GuestState(Running.RUNNING, "bhyve (pid 42)")
