"""One large file as a raw body, beside nginx's DAV module, whose file is made safe within its time."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import servers
from benchmarks.load import Line, speeds, written
from benchmarks.report import Row
from benchmarks.service import Service, service
from deploy.local.ports import free_port
from tests.fixtures.parts import provide
from tests.fixtures.postgres import PostgresServer

LARGE = 512 * 1024**2  # bytes
ROUNDS = 5
_CONFIG = """
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_max_body_size 0; client_body_buffer_size 1m; client_body_temp_path {folder}/temp;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; dav_methods PUT; }}
}}
"""


async def run(pg: PostgresServer) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="stowage-bench-put-"))
    try:
        async with service(pg) as ours, nginx(folder) as url:
            return [await asyncio.to_thread(_large, ours, url, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    (folder / "files").mkdir()
    user = "user root;" if os.geteuid() == 0 else ""  # its worker would become somebody else
    (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, port=port, user=user))
    command = [provide("nginx"), "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    async with servers.process(command, port):
        yield f"http://127.0.0.1:{port}"


def _large(ours: Service, url: str, folder: Path) -> Row:
    took: dict[str, list[float]] = {"ours": [], "nginx": [], "raw": []}
    for number in range(ROUNDS):
        line = Line(ours.url, ours.headers)
        begun = time.perf_counter()
        answer = line.ask("PUT", f"/api/storage/content/documents/{number}.bin", size=LARGE)
        took["ours"].append(time.perf_counter() - begun)
        line.close()
        assert answer.status == 201, answer
        took["nginx"].append(_put_and_sync(url, folder / "files" / f"{number}.bin"))
        took["raw"].append(written(folder, LARGE))
        os.sync()  # nobody pays for the one before
    speed = speeds(took, LARGE)
    ratio = speed["ours"] / speed["nginx"]
    return Row(
        "raw PUT of 512 MiB",
        "MiB/s",
        speed["ours"],
        speed["nginx"],
        speed["raw"],
        f"{ratio:.2f} × nginx DAV",
        "≥ 0.9 × nginx DAV",
        ratio >= 0.9,
        f"the best of {ROUNDS} rounds each, fsync in all; ours hashes, too",
    )


def _put_and_sync(url: str, file: Path) -> float:
    line = Line(url, {})
    begun = time.perf_counter()
    answer = line.ask("PUT", f"/{file.name}", size=LARGE)
    with file.open("rb") as made:
        os.fsync(made.fileno())
    seconds = time.perf_counter() - begun
    line.close()
    assert answer.status == 201, answer
    file.unlink()
    return seconds
