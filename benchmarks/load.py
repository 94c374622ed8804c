"""Clients that cost little: large bodies down one connection, small requests by many."""

import asyncio
import http.client
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PIECE = os.urandom(1024**2)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection, kept."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        where = urlsplit(url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=120)
        self._headers = headers

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, size: int = 0) -> Answer:
        """With a body of `size` bytes. `path` may be a whole address."""
        pieces = (PIECE[: size - start] for start in range(0, size, len(PIECE)))
        return self._ask(method, path, headers, size, pieces)

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        return self._ask(method, path, headers, len(body), [body])

    def say(self, method: str, path: str, body: object) -> Answer:
        """`body` as JSON."""
        return self.send(method, path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None, size: int, pieces: Iterable[bytes]
    ) -> Answer:
        connection, where = self._connection, urlsplit(path)
        connection.putrequest(method, f"{where.path}?{where.query}" if where.query else where.path)
        for name, value in {**self._headers, "Content-Length": str(size), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for piece in pieces:
            connection.send(piece)
        answer = connection.getresponse()
        body = answer.read()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def close(self) -> None:
        self._connection.close()


async def many(url: str, request: bytes, clients: int, seconds: float) -> float:
    """Answers of 200 or 201 a second, to clients that keep their connections and say the same again and again."""
    where = urlsplit(url)
    done, end = 0, time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while time.perf_counter() < end:
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert answer.split()[1] in {b"200", b"201"}, answer
            if b"transfer-encoding: chunked" in answer:
                await reader.readuntil(b"0\r\n\r\n")
            else:
                length = next((line for line in answer.split(b"\r\n") if line.startswith(b"content-length")), b":0")
                await reader.readexactly(int(length.split(b":")[1]))
            done += 1
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - begun)


def head(method: str, url: str, headers: Mapping[str, str], size: int) -> bytes:
    """A request's, of a body of `size` bytes."""
    where = urlsplit(url)
    lines = [f"{method} {where.path} HTTP/1.1", f"Host: {where.netloc}", f"Content-Length: {size}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def speeds(took: Mapping[str, Sequence[float]], size: int) -> dict[str, float]:
    """MiB/s by the best round of each: what disturbs one of them is not what is measured."""
    return {name: size / 2**20 / min(seconds) for name, seconds in took.items()}


def written(folder: Path, size: int, step: int | None = None) -> float:
    """Seconds to write and fsync so many bytes as one file; `step`: fdatasync after so many, too."""
    begun = time.perf_counter()
    with (folder / "raw").open("wb", buffering=0) as out:
        for start in range(0, size, len(PIECE)):
            out.write(PIECE[: size - start])
            if step and (start + len(PIECE)) % step == 0:
                os.fdatasync(out.fileno())
        os.fsync(out.fileno())
    seconds = time.perf_counter() - begun
    (folder / "raw").unlink()
    return seconds


def written_files(folder: Path, size: int, seconds: float = 1.0) -> float:
    """Files a second, written and fsynced one after the other."""
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        with (folder / f"raw-{number}").open("wb", buffering=0) as out:
            out.write(PIECE[:size])
            os.fsync(out.fileno())
        number += 1
    return number / (time.perf_counter() - begun)
