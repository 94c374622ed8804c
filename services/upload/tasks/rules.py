"""How long a task that failed waits. Pure."""

from datetime import timedelta

FIRST = timedelta(seconds=2)
LONGEST = timedelta(minutes=5)


def pause(attempts: int) -> timedelta:
    """After so many attempts, the last included: 2 s, doubled each time, 5 minutes at most. It never gives up."""
    return min(LONGEST, FIRST * (1 << min(attempts - 1, 20)))
