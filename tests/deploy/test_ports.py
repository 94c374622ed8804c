"""Ports that are given away, and stay free until who got them listens."""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local import ports

# Asks for ports out of two until there is none, says so, and lives until it is told to end.
OTHER = """
import sys
from deploy.local import ports
ports.RANGE = range(int(sys.argv[1]), int(sys.argv[1]) + 2)
got = []
try:
    while True:
        got.append(ports.free_port())
except OSError:
    print(*sorted(got), flush=True)
sys.stdin.read()
"""


@contextmanager
def other(first: int) -> Iterator[list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]


def test_connections_that_go_out_do_not_take_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(100):
            with socket.create_connection(server.getsockname()) as client:
                assert client.getsockname()[1] not in ports.RANGE


def test_no_two_processes_get_the_same_while_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    first = two_in_a_row()
    with other(first) as got:
        assert got == [first, first + 1]
        with other(first) as left:
            assert left == []
        monkeypatch.setattr(ports, "RANGE", range(first, first + 2))
        with pytest.raises(OSError, match="is free"):
            ports.free_port()
    with other(first) as got:
        assert got == [first, first + 1]


def test_one_that_somebody_listens_at_is_not_given() -> None:
    first = two_in_a_row()
    with socket.create_server(("127.0.0.1", first)), other(first) as got:
        assert got == [first + 1]


def two_in_a_row() -> int:
    """The first of two that nobody has."""
    for first in random.sample(ports.RANGE, 100):
        with other(first) as got:
            if got == [first, first + 1]:
                return first
    raise AssertionError("no two in a row are free")
