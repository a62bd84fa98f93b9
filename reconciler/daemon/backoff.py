"""How long a VM that failed is left alone: from a second to five minutes, with jitter. Pure."""

_FIRST = 1.0  # seconds
_LONGEST = 300.0
_SPREAD = 0.2


def delay(failures: int, chance: float) -> float:
    """Tell the seconds after FAILURES in a row (1 or more); CHANCE from 0 to 1 spreads them by a fifth either way.

    VMs that failed together, of a pool that was away for example, must not all come back together.
    """
    doubled = _FIRST * 2.0 ** min(failures - 1, 30)
    return min(doubled * (1 + _SPREAD * (2 * chance - 1)), _LONGEST)
