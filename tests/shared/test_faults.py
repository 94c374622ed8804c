"""A process dies at the place it was told to, at the visit it was told, and nowhere else."""

import os
import signal
import subprocess
import sys

PROGRAM = """
from shared import faults
for place in ("upload.placed", "billing.booked", "upload.placed", "upload.placed"):
    faults.reach(place)
    print("passed", place, flush=True)
"""


def run(fault: str | None) -> tuple[int, list[str]]:
    """The exit code, negative for a signal, and the places it came past."""
    environment = {name: value for name, value in os.environ.items() if name != "FAULT"}
    if fault is not None:
        environment["FAULT"] = fault
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=30, env=environment
    )
    assert ended.stderr == ""
    return ended.returncode, [line.removeprefix("passed ") for line in ended.stdout.splitlines()]


def test_it_dies_at_the_second_visit() -> None:
    assert run("upload.placed:2") == (-signal.SIGKILL, ["upload.placed", "billing.booked"])


def test_without_a_number_it_dies_at_the_first_visit() -> None:
    assert run("billing.booked") == (-signal.SIGKILL, ["upload.placed"])


def test_it_lives_when_the_place_is_visited_less_often_or_is_another() -> None:
    everywhere = ["upload.placed", "billing.booked", "upload.placed", "upload.placed"]
    for fault in (None, "", "upload.placed:4", "upload.place:1", "upload:1"):
        assert run(fault) == (0, everywhere), fault
