"""Named places to die at, for crash tests. Outside them this is one comparison.

`FAULT=upload.placed:3` kills the process, as kill -9 would, when it reaches that place for the third time.
"""

import os
import signal
from functools import cache
from itertools import count


def reach(name: str) -> None:
    """Dies here when told to."""
    place, times, visits = _told()
    if name == place and next(visits) >= times:
        os.kill(os.getpid(), signal.SIGKILL)


@cache  # asked at the first place, not at import: a forked process has an environment of its own by then
def _told() -> tuple[str, int, "count[int]"]:
    place, _, times = os.environ.get("FAULT", "").partition(":")
    return place, int(times or 1), count(1)
