"""The operator's hooks on a real host. Implements ``contracts.hooks``; processes are ``command``'s.

A hook runs as ckptree does, so it must be to be trusted as ckptree is: ``trust``.
"""

from collections.abc import Mapping

from reconciler.drivers.command import run
from reconciler.drivers.trust import why_not_trusted
from reconciler.errors import CommandFailed, StepFailed
from reconciler.model.desired import Hook

_ANY_CODE = range(-64, 256)  # a signal's number is negative, as subprocess tells it
_LONGEST_WORDS = 2000  # characters of a hook's own words in a message


class RealHooks:
    """Implements ``contracts.hooks.HookRunner``."""

    def run(self, hook: Hook, environment: Mapping[str, str]) -> None:
        """Run as the contract says."""
        program, seconds = hook.run[0], hook.timeout.total_seconds()
        doubt = why_not_trusted(program)
        if doubt:
            raise StepFailed(f"{program} is not run: {doubt}")
        try:
            done = run(
                hook.run, timeout=seconds, environment=environment, codes=_ANY_CODE, shares=False
            )
        except CommandFailed as error:
            if error.code is None:
                raise StepFailed(
                    f"{program} did not end within {seconds:g} s and was killed{_words(error.stderr)}"
                ) from error
            raise StepFailed(f"{program} could not be run{_words(error.stderr)}") from error
        if done.code:
            ended = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            raise StepFailed(
                f"{program} ended with {ended}{_words(done.stderr.strip() or done.stdout)}"
            )


def _words(text: str) -> str:
    kept = text.strip()
    if len(kept) > _LONGEST_WORDS:
        kept = f"...{kept[-_LONGEST_WORDS:]}"
    return f": {kept}" if kept else ""
