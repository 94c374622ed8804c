"""Uploads over HTTP: one large file, and small ones by 32 clients; through the gateway, to the service, by the book."""

import asyncio
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import psutil

from benchmarks import servers
from benchmarks.load import PIECE, many, speeds, written, written_files
from benchmarks.report import Row
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import Stack, person, started

LARGE = 512 * 1024**2  # bytes
ROUNDS = 4
SMALL = 64 * 1024
CLIENTS = 32
SECONDS = 5.0
MEMORY = 64 * 1024**2  # bytes either process may grow by
_FREE = "UPDATE tenant_storage SET limit_bytes = NULL, max_file_bytes = NULL WHERE tenant_id = $1 RETURNING 1"
BOUNDARY = 24 * "-" + "5f2b1c9a7e3d4860"  # as long as clients make them: the search for it depends on that


@dataclass(frozen=True)
class Target:
    url: str
    headers: dict[str, str]

    def request(self, size: int) -> tuple[bytes, bytes]:
        """What comes before and after the file's bytes."""
        where = urlsplit(self.url)
        front = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n'
        front += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="bench.bin"\r\n\r\n'
        back = f"\r\n--{BOUNDARY}--\r\n"
        lines = [
            f"POST {where.path} HTTP/1.1",
            f"Host: {where.netloc}",
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
            f"Content-Length: {len(front) + size + len(back)}",
            f"X-File-Size: {size}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return ("\r\n".join([*lines, "", ""]) + front).encode(), back.encode()


async def run(_: PostgresServer) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="stowage-bench-files-"))
    try:
        with started("auto", MAX_FILE_SIZE=str(4 * LARGE)) as stack:
            async with servers.application("benchmarks.textbook", folder) as book, aiohttp.ClientSession() as http:
                gateway, direct = await _targets(stack, http)
                large = await asyncio.to_thread(_large, stack, gateway, direct, Target(f"{book}/upload", {}), folder)
                small = await _small(gateway, Target(f"{book}/bare", {}), folder)
        return [large, small]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _targets(stack: Stack, http: aiohttp.ClientSession) -> tuple[Target, Target]:
    """The same customer at the gateway and straight at the service."""
    ada = await person(stack, http)
    (await ada.upload("first.txt", b"x", "documents")).expect(201, "an upload")
    assert await stack.query("upload", _FREE, ada.tenant["id"])
    tenant = UUID(ada.tenant["id"])
    who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, tenant_slug=ada.tenant["slug"], role="owner")
    token = sign(who, secret=stack.secrets()["internal"], audience="upload", issuer="gateway", lifetime=600)
    port = stack.service("upload")["port"]
    return (
        Target(f"{stack.url}/api/storage/upload", {"Authorization": f"Bearer {ada.token}"}),
        Target(f"http://127.0.0.1:{port}/api/storage/upload", {"stowage-internal": token}),
    )


def _large(stack: Stack, gateway: Target, direct: Target, book: Target, folder: Path) -> Row:
    pids = {name: stack.service(name)["pid"] for name in ("gateway", "upload")}
    _send(gateway, 8 * 1024**2)
    took: dict[str, list[float]] = {"gateway": [], "direct": [], "book": [], "raw": []}
    with _watched(pids) as growth:
        for _ in range(ROUNDS):
            for name, target in (("book", book), ("direct", direct), ("gateway", gateway)):
                took[name].append(_send(target, LARGE))
                os.sync()  # nobody pays for the one before
            took["raw"].append(written(folder, LARGE))
            for file in folder.iterdir():
                file.unlink()
    speed = speeds(took, LARGE)
    grown = max(growth.values())
    first, hop = speed["gateway"] / speed["book"], speed["gateway"] / speed["direct"]
    return Row(
        "upload 512 MiB through the gateway",
        "MiB/s",
        speed["gateway"],
        speed["book"],
        speed["raw"],
        f"{first:.2f} × textbook, hop {hop:.2f}, memory +{grown / 2**20:.0f} MiB",
        "≥ 1.3 × textbook, hop ≥ 0.8, memory ≤ +64 MiB",
        first >= 1.3 and hop >= 0.8 and grown <= MEMORY,
        f"straight to the service {speed['direct']:.0f} MiB/s; the best of {ROUNDS} rounds each, fsync on in all",
    )


async def _small(gateway: Target, bare: Target, folder: Path) -> Row:
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(2):
        for name, target in (("bare", bare), ("ours", gateway)):
            head, back = target.request(SMALL)
            rates[name].append(await many(target.url, head + PIECE[:SMALL] + back, CLIENTS, SECONDS))
    ours, limit = max(rates["ours"]), max(rates["bare"])
    return Row(
        "upload 64 KiB files, 32 clients, through the gateway",
        "files/s",
        ours,
        limit,
        written_files(folder, SMALL),
        f"{ours / limit:.2f} × bare",
        "≥ 0.5 × a bare handler",
        ours / limit >= 0.5,
        "the bare handler writes and fsyncs and accounts for nothing; raw writes and fsyncs one after the other",
    )


def _send(target: Target, size: int) -> float:
    """Seconds from the first byte to the answer."""
    where = urlsplit(target.url)
    head, back = target.request(size)
    with socket.create_connection((where.hostname, where.port), timeout=120) as connection:
        begun = time.perf_counter()
        connection.sendall(head)
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)
        connection.sendall(back)
        answer = connection.recv(65536)
        seconds = time.perf_counter() - begun
    assert answer.split()[1] in {b"200", b"201"}, answer[:400]
    return seconds


@contextmanager
def _watched(pids: dict[str, int]) -> Iterator[dict[str, Any]]:
    """By how much each process's resident memory rose at most, in bytes."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: process.memory_info().rss for name, process in processes.items()}
    growth, stop = dict.fromkeys(pids, 0), threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            for name, process in processes.items():
                growth[name] = max(growth[name], process.memory_info().rss - before[name])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield growth
    finally:
        stop.set()
        thread.join()
