"""Uploads in pieces beside the reference server, which is made to wait for its disk as ours does."""

import asyncio
import shutil
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import servers
from benchmarks.load import PIECE, Line, head, many, speeds, written, written_files
from benchmarks.report import Row
from benchmarks.service import service
from deploy.local.ports import free_port
from tests.fixtures.parts import NPM, provide
from tests.fixtures.postgres import PostgresServer

LARGE = 512 * 1024**2  # bytes
CHUNK = 8 * 1024**2
ROUNDS = 4
SMALL = 64 * 1024
CLIENTS = 32
SECONDS = 4.0
_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = {"Content-Type": "application/offset+octet-stream"}
_SAID = {"filename": "bench.bin", "category": "documents"}
_METADATA = {"Upload-Metadata": ",".join(f"{key} {b64encode(said.encode()).decode()}" for key, said in _SAID.items())}

Target = tuple[str, Mapping[str, str]]  # where uploads are created, and what every request says


async def run(pg: PostgresServer) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="stowage-bench-tus-"))
    try:
        async with service(pg) as ours, reference(folder) as url, reference(folder, "bytes") as bytes_only:
            targets: dict[str, Target] = {
                "ours": (f"{ours.url}/api/storage/uploads", ours.headers),
                "reference": (url, {}),
            }
            large = await asyncio.to_thread(_large, targets, folder)
            return [large, await _small({**targets, "bytes only": (bytes_only, {})}, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def reference(folder: Path, *told: str) -> AsyncIterator[str]:
    """`@tus/server` with its file store; yields the address uploads are created at."""
    provide("tus_server")
    provide("tus_file_store")
    port = free_port()
    script = Path(__file__).with_name("tus_server.mjs")
    async with servers.process(["node", script, NPM, port, folder, *told], port):
        yield f"http://127.0.0.1:{port}/files"


def _large(targets: Mapping[str, Target], folder: Path) -> Row:
    took: dict[str, list[float]] = {"ours": [], "reference": [], "raw": []}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            took[name].append(_send(target))
        took["raw"].append(written(folder, LARGE, CHUNK))
    speed = speeds(took, LARGE)
    ratio = speed["ours"] / speed["reference"]
    return Row(
        "tus 512 MiB in pieces of 8 MiB",
        "MiB/s",
        speed["ours"],
        speed["reference"],
        speed["raw"],
        f"{ratio:.2f} × @tus/server",
        "≥ 2 × @tus/server",
        ratio >= 2,
        f"the best of {ROUNDS} rounds each; every piece is on the disk before its answer, in all three",
    )


def _send(target: Target) -> float:
    url, said = target
    line = Line(url, said)
    begun = time.perf_counter()
    made = line.ask("POST", url, {**_TUS, **_METADATA, "Upload-Length": str(LARGE)})
    assert made.status == 201, made
    place = made.headers["location"]
    for offset in range(0, LARGE, CHUNK):
        answer = line.ask("PATCH", place, {**_TUS, **_BYTES, "Upload-Offset": str(offset)}, CHUNK)
        assert (answer.status, answer.headers["upload-offset"]) == (204, str(offset + CHUNK)), answer
    seconds = time.perf_counter() - begun
    line.close()
    return seconds


async def _small(targets: Mapping[str, Target], folder: Path) -> Row:
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, (url, said) in targets.items():
            told = {**said, **_TUS, **_BYTES, **_METADATA, "Upload-Length": str(SMALL)}
            rates[name].append(await many(url, head("POST", url, told, SMALL) + PIECE[:SMALL], CLIENTS, SECONDS))
    ours, theirs, bytes_only = (max(rates[name]) for name in ("ours", "reference", "bytes only"))
    return Row(
        "tus 64 KiB with their creation, 32 clients",
        "files/s",
        ours,
        theirs,
        written_files(folder, SMALL),
        f"{ours / theirs:.2f} × @tus/server",
        "≥ 1 × @tus/server",
        ours >= theirs,
        f"the best of {ROUNDS} rounds each; raw writes and fsyncs one after the other; {ours / bytes_only:.2f} × the "
        f"same server when it waits for the bytes alone ({bytes_only:,.0f}) and not for what makes them an upload",
    )
