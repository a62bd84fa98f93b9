"""The operator's hooks as the executor needs them: real in ``drivers.hooks``, in memory in ``simulate.hooks``."""

from collections.abc import Mapping
from typing import Protocol

from reconciler.model.desired import Hook


class HookRunner(Protocol):
    """Whoever runs hooks on a host."""

    def run(self, hook: Hook, environment: Mapping[str, str]) -> None:
        """Run HOOK to its end, with what it may know in its ENVIRONMENT; its time limit ends all that it started.

        Raises StepFailed with the hook's own words: it is not there or not to be trusted, it ended with an error, or
        not in time.
        """
