"""Large files on an S3 server, through us and straight to it by our leave; beside the minio SDK on the same server."""

import asyncio
import io
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minio import Minio

from benchmarks.load import PIECE, Line, speeds, written
from benchmarks.report import Row
from benchmarks.service import Service, service
from tests.fixtures.parts import provide
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stores import ObjectServer, s3_running, told

LARGE = 512 * 1024**2  # bytes
ROUNDS = 4
AT_ONCE = 3  # parts, as the SDK sends them
BUCKET = "bench"


async def run(pg: PostgresServer) -> list[Row]:
    with s3_running(provide("s3_program")) as server:
        async with service(pg, **told("s3", server, BUCKET)) as ours:
            return await asyncio.to_thread(_compare, ours, server)


def _compare(ours: Service, server: ObjectServer) -> list[Row]:
    took: dict[str, list[float]] = {name: [] for name in ("sdk", "through", "direct", "file", "raw")}
    with tempfile.TemporaryDirectory(prefix="stowage-bench-raw-") as folder:
        for number in range(ROUNDS):
            took["sdk"].append(_sdk(server, f"sdk-{number}"))
            os.sync()  # nobody pays for the one before
            took["through"].append(_through(ours, number))
            os.sync()
            sent, whole = _direct(ours, number)
            took["direct"].append(sent)
            took["file"].append(whole)
            os.sync()
            took["raw"].append(written(Path(folder), LARGE))
    speed = speeds(took, LARGE)
    ratios = {name: speed[name] / speed["sdk"] for name in ("through", "direct", "file")}

    def row(path: str, name: str, least: float, note: str) -> Row:
        ratio = ratios[name]
        told = f"{ratio:.2f} × the SDK", f"≥ {least} × the SDK", ratio >= least
        return Row(
            path, "MiB/s", speed[name], speed["sdk"], speed["raw"], *told, f"{note}; the best of {ROUNDS} rounds"
        )

    return [
        row("512 MiB to S3 through us", "through", 0.8, "textbook: the minio SDK straight to the same server"),
        row(
            "512 MiB to S3 directly",
            "direct",
            0.95,
            f"until the store has all bytes; until they are a file, read back and hashed: {ratios['file']:.2f} ×",
        ),
    ]


class _Bytes(io.RawIOBase):
    """So many, without holding them."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        found = b""
        while self._left and (size < 0 or len(found) < size):
            piece = PIECE[: min(self._left, size - len(found) if size >= 0 else len(PIECE))]
            self._left -= len(piece)
            found = found + piece if found else piece
        return found


def _sdk(server: ObjectServer, name: str) -> float:
    host = server.url.removeprefix("http://")
    client = Minio(host, access_key=server.key, secret_key=server.secret, secure=False)
    begun = time.perf_counter()
    client.put_object(BUCKET, name, _Bytes(LARGE), LARGE, num_parallel_uploads=AT_ONCE)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begun
    client.remove_object(BUCKET, name)
    return seconds


def _through(ours: Service, number: int) -> float:
    line = Line(ours.url, ours.headers)
    begun = time.perf_counter()
    answer = line.ask("PUT", f"/api/storage/content/documents/{number}.bin", size=LARGE)
    seconds = time.perf_counter() - begun
    assert answer.status == 201, answer
    _remove(line, answer.json()["file_id"])
    return seconds


def _direct(ours: Service, number: int) -> tuple[float, float]:
    """Seconds until the store has the bytes, and until they are a file."""
    line = Line(ours.url, ours.headers)
    wanted = {"file_name": f"direct-{number}.bin", "file_size": LARGE, "category": "documents"}
    begun = time.perf_counter()
    made = line.say("POST", "/api/storage/direct-uploads", wanted)
    assert made.status == 201, made
    offer: dict[str, Any] = made.json()
    own = threading.local()

    def send(part: dict[str, Any]) -> None:
        if not hasattr(own, "line"):
            own.line = Line(part["url"], {})
        size = min(offer["part_size"], LARGE - (part["number"] - 1) * offer["part_size"])
        assert own.line.ask("PUT", part["url"], size=size).status == 200

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, offer["parts"]))
    sent = time.perf_counter() - begun
    path = f"/api/storage/direct-uploads/{offer['upload_id']}/complete"
    while (answer := line.say("POST", path, {})).status == 202:
        time.sleep(0.05)
    whole = time.perf_counter() - begun
    assert answer.status == 200, answer
    _remove(line, answer.json()["file_id"])
    return sent, whole


def _remove(line: Line, file_id: str) -> None:
    assert line.ask("DELETE", f"/api/storage/files/{file_id}").status in {200, 204}
    line.close()
