"""When something falls due by time alone: what the daemon sleeps until."""

from datetime import datetime, time, timedelta

from reconciler.model.desired import DesiredVm, Prune, Schedule
from reconciler.model.windows import ALWAYS, Window, Windows
from reconciler.plan.due import next_due
from tests.support.plans import LINE, line, world_with
from tests.support.world import START, World, desired

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHT = (Window(days=frozenset(range(7)), start=time(22), end=time(6)),)


def due(world: World, file: DesiredVm, windows: Windows = ALWAYS) -> datetime | None:
    return next_due(file, world.observe(file), world.now, windows)


def test_nothing_is_due_where_nothing_has_a_time() -> None:
    assert due(world_with(line()), line()) is None


def test_an_expiry_a_keep_and_the_end_of_a_grace_are_due() -> None:
    world = world_with(line())
    dated = desired(LINE, {"b": {"expires": START + DAY}, "c": {"keep": 2 * DAY}})
    assert due(world, dated) == START + DAY
    world.pass_time(days=1)
    assert due(world, dated) == START + 2 * DAY
    world.apply(dated)
    assert due(world, desired({"a": {"c": {}}}, prune=Prune(grace=HOUR))) == START + DAY + HOUR


def test_the_next_automatic_one_and_the_end_of_the_first_are_due() -> None:
    file = line(schedule=Schedule(every=HOUR, keep=3 * HOUR))
    world = world_with(line())
    assert due(world, file) == START + HOUR
    world.pass_time(hours=1)
    assert due(world, file) is None
    world.write("more")
    world.apply(file)
    assert due(world, file) == START + 2 * HOUR
    world.pass_time(hours=2)
    assert due(world, file) == START + 4 * HOUR


def test_the_opening_of_a_window_is_due_that_of_the_file_before_that_of_the_host() -> None:
    world = world_with(line())
    assert due(world, line(), Windows(paused=NIGHT)) == START + 10 * HOUR
    noon = (Window(days=frozenset(range(7)), start=time(15), end=time(16)),)
    assert due(world, line(windows=Windows(paused=noon)), Windows(paused=NIGHT)) == START + 3 * HOUR


def test_no_moment_that_has_passed_is_given() -> None:
    world = world_with(desired(LINE, {"c": {"expires": START + HOUR}}))
    world.pass_time(days=1)
    assert due(world, desired(LINE, {"c": {"expires": START + HOUR}})) is None
