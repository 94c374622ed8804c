"""A ClamAV daemon on a loopback port: the real one with a signature of our own, or a stand-in that speaks INSTREAM."""

import asyncio
import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deploy.local.ports import free_port

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Stowage.Eicar"
STREAM_LIMIT = 40 * 1024**2  # bytes the daemon takes


@dataclass
class Clamd:
    """The real one. `start` and `stop` may be called again and again; the port stays."""

    program: Path
    folder: Path
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.folder / "own.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        lines = [
            f"TCPSocket {self.port}",
            "TCPAddr 127.0.0.1",
            f"DatabaseDirectory {self.folder}",
            f"TemporaryDirectory {self.folder}",
            f"StreamMaxLength {STREAM_LIMIT}",
            f"MaxFileSize {STREAM_LIMIT}",
            f"MaxScanSize {STREAM_LIMIT}",
            "AlertExceedsMax yes",
            "Foreground yes",
        ]
        (self.folder / "clamd.conf").write_text("\n".join(lines) + "\n")
        command = [str(self.program), "--config-file", str(self.folder / "clamd.conf")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"zPING\0")
            return connection.recv(16) == b"PONG\0"
        return False


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class StandIn:
    """Runs `script` for every connection; without one it looks for EICAR in the stream."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or look_through
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._script(reader, writer)
        writer.close()


async def pieces(reader: asyncio.StreamReader) -> bytes:
    """The whole stream; the command before it is checked."""
    assert await reader.readexactly(10) == b"zINSTREAM\0"
    content = bytearray()
    while length := struct.unpack(">I", await reader.readexactly(4))[0]:
        content += await reader.readexactly(length)
    return bytes(content)


async def look_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    found = EICAR in await pieces(reader)
    writer.write(f"stream: {SIGNATURE}.UNOFFICIAL FOUND\0".encode() if found else b"stream: OK\0")
    await writer.drain()
