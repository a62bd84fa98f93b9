"""What became of a revision: one word and a sentence, from what is left to do."""

from reconciler.render.revision_view import outcome
from reconciler.source.ledger import State
from tests.unit.render import scenarios


def test_all_as_the_documents_say_is_applied() -> None:
    plans = [scenarios.nothing_to_do().plan, scenarios.suspended().plan]
    assert outcome(plans, {}, ()) == (State.APPLIED, "2 VMs as the documents say")


def test_what_the_documents_let_wait_counts_as_applied() -> None:
    scene = scenarios.other_host()
    assert outcome([scene.plan], {}, ())[0] is State.APPLIED


def test_actions_that_are_left_make_it_wait() -> None:
    scene = scenarios.first_capture()
    count = len(scene.plan.actions)
    state, says = outcome([scene.plan], {}, ())
    assert state is State.WAITING
    assert says.startswith(f"{scene.vm.vm} not finished: {scene.vm.vm}: {count} action")


def test_what_waits_for_a_person_makes_it_wait_and_is_named() -> None:
    state, says = outcome([scenarios.nothing_to_do().plan, scenarios.approval().plan], {}, ())
    assert state is State.WAITING
    assert ": AwaitingApproval: " in says


def test_a_vm_that_failed_makes_it_fail_whatever_waits() -> None:
    failures = {f"vm{n}": "no space" for n in range(7)}
    state, says = outcome([scenarios.approval().plan], failures, ())
    assert (state, says) == (
        State.FAILED,
        "vm0, vm1, vm2, vm3, vm4 and 2 more failed: vm0: no space",
    )


def test_faults_of_documents_make_it_fail() -> None:
    state, says = outcome([], {}, ("web.yaml:1:1: wrong", "dns.yaml:1:1: wrong"))
    assert (state, says) == (State.FAILED, "2 faults in its documents: web.yaml:1:1: wrong")
