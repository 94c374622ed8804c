"""Serving: uvicorn with httptools and uvloop, a limit on heads, and an orderly end."""

import asyncio
import contextlib
import ctypes
import functools
import gc
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

import httptools
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.http.large import DRAIN, LARGE, LEAST, READY, LargeBody, Take
from shared.http.lingering import LingeringClose
from shared.http.outlet import OUTLET
from shared.settings import ServiceSettings

HEADER_DEADLINE = 10.0  # seconds from a connection, or a request's first byte, to a whole head
MAX_HEAD = 64 * 1024  # bytes of a head that comes in pieces
GRACE = 5  # seconds to finish what is under way when told to stop
# Bytes of bodies that may wait for the application: of one, and of all together. uvicorn has no setting for it, and at
# its 64 KiB a large upload stops and goes: 440 MiB/s instead of 540 on two cores.
WAITING = 256 * 1024
WAITING_TOGETHER = 64 * WAITING
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Body:
    """What waits of a body: its small pieces joined, its large ones as they came."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | bytearray] = deque()
        self._size = 0

    def __iadd__(self, piece: bytes | bytearray) -> Self:
        self._pieces.append(piece)
        self._size += len(piece)
        return self

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b""

    def pop(self) -> bytes | bytearray:
        if self._pieces and len(self._pieces[0]) >= LEAST:
            piece = self._pieces.popleft()
        else:
            piece = b"".join(self._pieces)
            self._pieces.clear()
        self._size -= len(piece)
        return piece


class _Cycle(httptools_impl.RequestResponseCycle):
    """uvicorn copies every byte of a body twice more than need be: two fifths of what a large upload costs the loop."""

    def __init__(self, *told: Any, **named: Any) -> None:
        super().__init__(*told, **named)
        self.body = _Body()  # type: ignore[assignment]

    async def receive(self) -> Any:
        waiting: Any = self.body
        message = await super().receive()
        self.body = waiting
        if message["type"] == "http.request":
            message["body"] = waiting.pop()
            if waiting:
                message["more_body"] = True
                self.message_event.set()
        return message


httptools_impl.RequestResponseCycle = _Cycle  # type: ignore[misc]


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn waits for ever for the rest of a head and keeps any amount of it; this does not."""

    _deadline: asyncio.TimerHandle | None = None
    _head = 0  # bytes of an unfinished head, without the piece it began in
    _in_head = True
    _began = True
    _large: LargeBody | None = None  # while it has this one's place
    lost = False
    _coming = 0  # bytes of a body the parser has not seen; 0 where nobody said how many there are

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._share_memory()
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._coming >= LARGE and not self.transport.is_closing():
            self._large = LargeBody(self, self._coming)
            self.transport.set_protocol(self._large)
        if self._in_head:
            # The piece a head begins in may hold the end of the body before it.
            self._head, self._began = 0 if self._began else self._head + len(data), False
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        self._in_head = False
        super().on_headers_complete()
        if not self.pipeline:
            self._coming = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
            extensions: dict[str, Any] = {READY: self.cycle.message_event.is_set, OUTLET: self}
            if self._coming >= LARGE:
                extensions[DRAIN] = functools.partial(self._drain, self.cycle)
            self.scope["extensions"] = extensions
        # Trailers of a chunked body would be added to a head that has already been judged.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._coming -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._coming = 0
        super().on_message_complete()

    @property
    def unsent(self) -> int:
        return 0 if self.lost else int(self.transport.get_write_buffer_size())

    # What LargeBody calls

    @property
    def waiting_limit(self) -> int:
        """Bytes that may wait for the application."""
        return int(httptools_impl.HIGH_WATER_LIMIT)  # type: ignore[attr-defined]

    def take(self, piece: bytes | bytearray) -> None:
        self._unset_keepalive_if_required()
        super().on_body(piece)  # type: ignore[arg-type]

    def large_body_ended(self) -> None:
        self._large = None
        self.transport.set_protocol(self)
        self.parser = httptools.HttpRequestParser(self)  # the one before still waits for what went past it
        self.on_message_complete()

    async def _drain(self, cycle: Any, most: int, take: Take) -> int:
        """For the application of `cycle`: what has arrived of its body, or nothing where it has to be received."""
        large = self._large
        if large is None or cycle is not self.cycle or cycle.body or cycle.response_complete:
            return 0
        self.flow.pause_reading()
        try:
            return await large.drain(self.transport, most, take)
        except BaseException:
            cycle.keep_alive = False  # nobody knows how much was taken
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._large = None
        self._forget_deadline()
        super().connection_lost(exc)
        self._share_memory()

    def _share_memory(self) -> None:
        share = WAITING_TOGETHER // max(1, len(self.connections))
        httptools_impl.HIGH_WATER_LIMIT = max(WAITING // 4, min(WAITING, share))  # type: ignore[attr-defined]

    def _expect_head(self) -> None:
        self._in_head = self._began = True
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEADER_DEADLINE, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's own raises the signal again when it has stopped, and so kills the process before consumers have let go
    and the last spans are sent. This one only stops, and tells the requests under way that it does.
    """

    owns_process = False

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["stopping"] = self._stopping
        await super().startup(sockets)
        if self.owns_process:
            # What the start has made stays for ever: looking through it again and again stopped everybody for 0.1 s.
            gc.collect()
            gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def server_for(app: Any, settings: ServiceSettings) -> Server:
    config = uvicorn.Config(
        LingeringClose(app),
        host=settings.host,
        port=settings.port,
        http=DeadlineProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,
    )
    return Server(config)


def _keep_memory() -> None:
    """Bodies come and go in pieces of 256 KiB. glibc would return each to the system and ask for it again, page by
    page: a third of what the kernel does for a large upload.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 32 * 1024 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def serve(create: Callable[[Any], Any], settings: ServiceSettings) -> None:
    """Runs `create(settings)` until told to stop by SIGTERM or SIGINT; exits non-zero when it cannot start."""
    from shared import telemetry

    _keep_memory()
    telemetry.setup(settings)
    try:
        server = server_for(create(settings), settings)
        server.owns_process = True
        server.run()
    finally:
        telemetry.shutdown()
