"""`stowage up` on a prepared machine: the second start of a home, from the command to the prompt."""

import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.report import Row
from deploy.local import kafka
from deploy.local.ports import free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import run as stowage

TARGETS = {"embedded": 10.0, "kafka": 15.0}  # seconds
STARTS = 2  # after the one that prepares


async def run(_: PostgresServer) -> list[Row]:
    brokers = ["embedded"] if kafka.choose("auto") == "embedded" else list(TARGETS)
    return [_measure(broker, TARGETS[broker]) for broker in brokers]


def _measure(broker: str, target: float) -> Row:
    home = Path(tempfile.mkdtemp(prefix="stowage-bench-up-"))
    port, taken = str(free_port()), []
    try:
        for _ in range(1 + STARTS):
            begun = time.perf_counter()
            stowage("up", "--home", str(home), "--port", port, "--broker", broker, "--detach", timeout=300)
            taken.append(time.perf_counter() - begun)
            stowage("down", "--home", str(home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    seconds = max(taken[1:])
    ratio = f"first {taken[0]:.1f} s, then ≤ {seconds:.1f} s"
    return Row(f"up, {broker} broker → ready", "s", seconds, None, None, ratio, f"≤ {target:.0f} s", seconds <= target)
