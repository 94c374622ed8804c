"""Named places to die at, for crash tests. Outside them this is one comparison.

`FAULT=upload.placed:3` kills the process, as kill -9 would, when it reaches that place for the third time.
"""

import os
import signal

_name, _, _count = os.environ.get("FAULT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Dies here when told to."""
    global _left  # noqa: PLW0603 - counts down to one death
    if name == _name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
