"""Hooks in memory, behind the same contract as the real ones: they bring the guest to rest and let it go on."""

from collections.abc import Mapping

from reconciler.errors import StepFailed
from reconciler.model.desired import Hook


class MemoryHooks:
    """Implements ``contracts.hooks.HookRunner``.

    ``calls`` are the environments of all hooks that were run; those named in ``failing`` do their work and then fail.
    ``at_rest`` tells what a hook before something began and the one after it has not ended.
    """

    def __init__(self) -> None:
        self.calls: list[Mapping[str, str]] = []
        self.failing: set[str] = set()
        self.at_rest: set[str] = set()

    def copy(self) -> "MemoryHooks":
        """Copy it."""
        copied = MemoryHooks()
        copied.calls = list(self.calls)
        copied.failing, copied.at_rest = set(self.failing), set(self.at_rest)
        return copied

    @property
    def names(self) -> list[str]:
        """The names of the hooks that were run, in order."""
        return [call["CKPTREE_HOOK"] for call in self.calls]

    def run(self, hook: Hook, environment: Mapping[str, str]) -> None:
        """Run it, or fail as told."""
        name = environment["CKPTREE_HOOK"]
        when, _, occasion = name.partition("-")
        self.calls.append(dict(environment))
        if when == "before":
            self.at_rest.add(occasion)
        else:
            self.at_rest.discard(occasion)
        if name in self.failing:
            raise StepFailed(f"'{hook.run[0]}' ended with exit code 1: {name} says no")
