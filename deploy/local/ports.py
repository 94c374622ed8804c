"""Ports to listen at that stay free until somebody does."""

import atexit
import random
import socket

# Below what the system gives to connections that go out (from 32,768 on Linux, 49,152 elsewhere): a port of those
# that was free a moment ago may be the near end of somebody's connection when a server wants it.
RANGE = range(10_000, 32_768)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Nobody listens there, and no other process that asked this function got it, for as long as this one lives."""
    for port in random.sample(RANGE, len(RANGE)):
        if is_free(port) and _claim(port):
            return port
    raise OSError(f"no port from {RANGE.start} to {RANGE.stop - 1} is free")


def _claim(port: int) -> bool:
    """Hold the UDP port of the same number, which nobody here uses: the system takes it back from who dies."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    atexit.register(claim.close)
    return True
