"""HTTP to an object store: signed, never more than a piece in memory, tried again until a deadline."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.etree.ElementTree import Element, ParseError, fromstring

import aiohttp
from prometheus_client import Counter
from yarl import URL

from services.upload.blobs.store import StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

RETRIES = Counter("stowage_upload_store_retries_total", "Requests to an object store made again", ["backend"])
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # it may well answer the next time
REFUSED = frozenset({401, 403, 405, 413, 423, 507})  # to a write: read-only, over its own quota, or full
CONNECTIONS = 64
PIECE = 512 * 1024  # bytes of a download held at a time
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts
LATELY = 5.0  # seconds
ANSWER = 16 * 1024 * 1024  # bytes an answer that is no blob may have


class Body(Protocol):
    """Bytes that can be sent more than once."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


class Memory:
    """A body small enough to be held."""

    def __init__(self, chunks: bytes | list[bytes]) -> None:
        self._chunks = [chunks] if isinstance(chunks, bytes) else chunks
        self.size = sum(map(len, self._chunks))

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


@dataclass(frozen=True, slots=True)
class Request:
    """`url` is encoded and not signed yet."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`repeated`: an earlier attempt may have done it already, and its answer was lost."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool

    def expect(self, *statuses: int) -> "Answer":
        """Raises FileNotFoundError for 404, StoreFull where a write is refused, StoreUnavailable otherwise."""
        if self.status in statuses:
            return self
        if self.status == 404:
            raise FileNotFoundError
        log.error("the object store answers %d: %s", self.status, self.body[:300].decode("utf-8", "replace"))
        raise StoreFull() if self.status in REFUSED else StoreUnavailable()


Sign = Callable[[Request], Awaitable[tuple[str, dict[str, str]]]]  # the address and the headers to send


def parse_xml(answer: Answer) -> Element:
    """Without namespaces, which differ from server to server. Raises StoreUnavailable."""
    answer.expect(200)
    try:
        root = fromstring(answer.body)  # noqa: S314 - our own store's answer
    except ParseError:
        raise StoreUnavailable from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


class _Busy(Exception):
    """The store asks for patience, or is broken for the moment."""


class Patience:
    """Attempts may begin for `seconds` after the last one that got somewhere."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._seconds = seconds
        self._since = self._clock()
        self._pause = FIRST_PAUSE
        self.attempts = 1

    def renew(self) -> None:
        self._since = self._clock()
        self._pause = FIRST_PAUSE

    async def wait(self, error: BaseException) -> None:
        """Until the next attempt is due. Raises StoreUnavailable when there will be none."""
        pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 - so that not all come back at once
        if self._clock() + pause > self._since + self._seconds:
            log.error("the object store was given up: %r", error)
            raise StoreUnavailable from error
        await asyncio.sleep(pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.attempts += 1


class Wire:
    """`seconds`: how long a store that fails is asked again. One that says nothing is left after a third of that."""

    def __init__(self, backend: str, sign: Sign, seconds: float) -> None:
        self._backend = backend
        self._sign = sign
        self._seconds = seconds
        self._idle = seconds / 3
        self._session: aiohttp.ClientSession | None = None
        self._down = False  # given up, and no request has succeeded since
        self._wrote = -LATELY  # when it last took something

    async def ask(self, request: Request, *, once: bool = False) -> Answer:
        """Any answer that will not change by asking again. Raises StoreUnavailable.

        A store that was given up gets one attempt a request until it answers: nobody waits for it a second time.
        """
        patience = Patience(0 if once or self._down else self._seconds)
        while True:
            try:
                answer = await self._attempt(request, patience)
                self._down = False
                if request.body is not None and answer.status < 300:
                    self._wrote = asyncio.get_running_loop().time()
                return answer
            except (aiohttp.ClientError, OSError, _Busy) as error:
                await self._wait(patience, error)

    async def read(self, request: Request, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes from `start`; goes on where a broken connection left off. Raises FileNotFoundError first."""
        patience = Patience(0 if self._down else self._seconds)
        while length > 0:
            span = {"Range": f"bytes={start}-{start + length - 1}"}
            asked = Request(request.method, request.url, {**request.headers, **span})
            try:
                async with self._open(asked) as response:
                    await _check_span(response, start)
                    async for chunk in response.content.iter_chunked(PIECE):
                        wanted = chunk[:length]
                        start, length = start + len(wanted), length - len(wanted)
                        yield wanted
                        patience.renew()
                        if not length:
                            return
                raise _Busy("the blob ends too early")
            except FileNotFoundError:
                raise
            except (aiohttp.ClientError, OSError, _Busy) as error:
                await self._wait(patience, error)

    @property
    def wrote_lately(self) -> bool:
        """Then there is no need to try."""
        return not self._down and asyncio.get_running_loop().time() - self._wrote < LATELY

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _wait(self, patience: Patience, error: BaseException) -> None:
        try:
            await patience.wait(error)
        except StoreUnavailable:
            self._down = True
            raise
        RETRIES.labels(self._backend).inc()

    async def _attempt(self, request: Request, patience: Patience) -> Answer:
        async with asyncio.timeout(self._idle) as limit:
            repeated = patience.attempts > 1

            def moved() -> None:
                limit.reschedule(asyncio.get_running_loop().time() + self._idle)
                if not repeated:  # sending the same bytes again gets nobody further
                    patience.renew()

            async with self._open(request, moved) as response:
                body = await response.content.read(ANSWER) if request.method != "HEAD" else b""
                while request.method != "HEAD" and (more := await response.content.read(ANSWER)):
                    body += more
                if response.status in BUSY:
                    raise _Busy(f"{response.status} {body[:200].decode('utf-8', 'replace')}")
                return Answer(response.status, response.headers, body, repeated)

    @contextlib.asynccontextmanager
    async def _open(
        self, request: Request, moved: Callable[[], None] = lambda: None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url, headers = await self._sign(request)
        data: Any = None
        if request.body is not None:
            headers["Content-Length"] = str(request.body.size)
            data = _watched(request.body, moved) if request.body.size else b""
        async with self._connected().request(
            request.method, URL(url, encoded=True), headers=headers, data=data, allow_redirects=False
        ) as response:
            yield response

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=10),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._idle, sock_read=self._idle),
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding", "Content-Type"),
            )
        return self._session


async def _watched(body: Body, moved: Callable[[], None]) -> AsyncIterator[bytes]:
    async for chunk in body.chunks():
        moved()
        yield chunk


async def _check_span(response: aiohttp.ClientResponse, start: int) -> None:
    """Raises FileNotFoundError, StoreUnavailable, _Busy."""
    if response.status == 206 or (response.status == 200 and start == 0):
        return
    if response.status == 404:
        raise FileNotFoundError
    if response.status in BUSY:
        raise _Busy(str(response.status))
    log.error("the object store answers %d to a read", response.status)
    raise StoreUnavailable
