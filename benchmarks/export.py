"""An export, written, read back and checked before it is offered; beside `zip -0` of the same files."""

import asyncio
import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.load import PIECE, Line, speeds, written
from benchmarks.report import Row
from benchmarks.service import Service, service
from services.upload.upkeep import open_upkeep
from tests.fixtures.parts import provide
from tests.fixtures.postgres import PostgresServer
from tests.services.upload.conftest import settings_for

FILES, SIZE = 1024, 512 * 1024  # bytes of each
ROUNDS = 3


async def run(pg: PostgresServer) -> list[Row]:
    async with service(pg) as ours:
        await asyncio.to_thread(_fill, ours)
        took: dict[str, list[float]] = {"ours": [], "zip": [], "raw": []}
        for _ in range(ROUNDS):
            took["ours"].append(await _export(ours))
            os.sync()  # nobody pays for the one before
            took["zip"].append(await asyncio.to_thread(_zip, ours.root))
            with tempfile.TemporaryDirectory(prefix="stowage-bench-raw-") as folder:
                took["raw"].append(await asyncio.to_thread(written, Path(folder), FILES * SIZE))
    speed = speeds(took, FILES * SIZE)
    ratio = speed["ours"] / speed["zip"]
    return [
        Row(
            "export of 512 MiB in 1,024 files",
            "MiB/s",
            speed["ours"],
            speed["zip"],
            speed["raw"],
            f"{ratio:.2f} × zip -0",
            "≥ 0.7 × zip -0",
            ratio >= 0.7,
            f"the best of {ROUNDS}; ours is hashed, read back and checked, too, and zip's file synced within its time",
        )
    ]


def _fill(ours: Service) -> None:
    line = Line(ours.url, ours.headers)
    for number in range(FILES):
        content = hashlib.sha256(str(number).encode()).digest() + PIECE[: SIZE - 32]
        answer = line.send("PUT", f"/api/storage/content/documents/{number}.bin", content)
        assert answer.status == 201, answer
    line.close()


async def _export(ours: Service) -> float:
    settings = settings_for(ours.dsn.worker, ours.root, ours.settings.billing_url or "")
    line = Line(ours.url, ours.headers)
    made = line.say("POST", "/api/user/export-data", {})
    assert made.status == 202, made
    async with open_upkeep(settings) as upkeep:
        begun = time.perf_counter()
        await upkeep.jobs.run("exports")
        seconds = time.perf_counter() - begun
    path = f"/api/user/exports/{made.json()['export_id']}"
    assert line.ask("GET", path).json()["status"] == "ready"
    line.ask("DELETE", path)
    line.close()
    return seconds


def _zip(root: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="stowage-bench-zip-") as folder:
        target = Path(folder, "all.zip")
        begun = time.perf_counter()
        subprocess.run([provide("zip"), "-0", "-q", "-r", target, root / "blobs" / "customers"], check=True)
        with target.open("rb") as file:
            os.fsync(file.fileno())
        return time.perf_counter() - begun
