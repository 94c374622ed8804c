"""How much of what was answered has left the process."""

from typing import Protocol

# The extension of a request's scope: the connection's Outlet.
OUTLET = "stowage.outlet"


class Outlet(Protocol):
    """`lost`: the client is gone, nothing is written any more. `unsent`: bytes written that the system has not taken;
    once lost nobody can tell, as event loops forget them first.
    """

    @property
    def lost(self) -> bool: ...
    @property
    def unsent(self) -> int: ...
