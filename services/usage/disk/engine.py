"""The Docker Engine API, as far as it tells what lies on the disk."""

import asyncio
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import aiohttp
import orjson
from pydantic import ValidationError

from services.usage.disk.answers import read_usage
from services.usage.disk.rules import Image, Volume

# The versions of the API that are known here; the first has /system/df.
OLDEST, NEWEST = (1, 25), (1, 52)
CHOOSY = (1, 42)  # from here on it can be told what to measure,
NESTED = (1, 52)  # and from here on it lists things only when asked to, a kind by itself
PATIENCE = 300.0  # seconds: the engine walks through all volumes before it answers
CONNECT = 5.0  # seconds
LIMIT = 32 * 1024**2  # bytes of an answer: tens of thousands of volumes and images

Reason = Literal["off", "absent", "denied", "timeout", "broken", "status", "too_large", "unreadable", "too_old"]

_REASONS: dict[int | None, Reason] = {
    errno.ENOENT: "absent",
    errno.ECONNREFUSED: "absent",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
}


class EngineUnavailable(Exception):
    """Nothing is known of the disk now. `reason` is one of few, for the metric."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Report:
    """`engine` is how it calls itself, `api` the version spoken."""

    engine: str
    api: str
    volumes: list[Volume]
    images: list[Image]


class DockerEngine:
    """`url`: unix:///path, tcp://host:port or http://host:port. One answer may have `limit` bytes, and all of them
    together take `patience` seconds.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE, limit: int = LIMIT) -> None:
        self._path = url.removeprefix("unix://") if url.startswith("unix://") else None
        self._base = "http://docker" if self._path else re.sub("^tcp:", "http:", url).rstrip("/")
        self._patience = patience
        self._limit = limit

    async def read(self) -> Report:
        """Raises EngineUnavailable, whatever is wrong with it."""
        try:
            async with asyncio.timeout(self._patience), self._session() as session:
                return await self._read(session)
        except TimeoutError as error:
            raise EngineUnavailable("timeout", str(error) or f"no answer in {self._patience:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailable(_reason(error), _printable(str(error) or type(error).__name__)) from error

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(self._path) if self._path else aiohttp.TCPConnector()
        # Nothing is unpacked: a small answer could become a large one.
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def _read(self, session: aiohttp.ClientSession) -> Report:
        ping, _ = await self._get(session, "/_ping")
        major, minor = spoken = _negotiated(ping.get("Api-Version", ""))
        api = f"{major}.{minor}"
        _, body = await self._get(session, f"/v{api}/system/df{_query(spoken)}")
        try:
            images, volumes = read_usage(body, nested=spoken >= NESTED)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise EngineUnavailable("unreadable", f"/system/df: {where} {first['msg']}".strip()) from error
        return Report(_printable(ping.get("Server", "unknown")), api, volumes, images)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> tuple[Mapping[str, str], bytes]:
        async with session.get(self._base + path, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._limit:
                    raise EngineUnavailable("too_large", f"{path} answers with more than {self._limit} bytes")
        if response.status != 200:
            raise EngineUnavailable("status", f"{path} answered {response.status} {_message(body)}".rstrip())
        return response.headers, bytes(body)


def _negotiated(told: str) -> tuple[int, int]:
    """The lower of the engine's version and ours."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", told)
    if found is None:
        raise EngineUnavailable("unreadable", "/_ping names no version of the API: this is no Docker Engine")
    version = int(found[1]), int(found[2])
    if version < OLDEST:
        raise EngineUnavailable("too_old", f"the engine speaks {told}, and the oldest known here is 1.25")
    return min(version, NEWEST)


def _query(version: tuple[int, int]) -> str:
    """Older ones measure containers and build caches along, unasked."""
    if version < CHOOSY:
        return ""
    return "?type=image&type=volume" + ("&verbose=1" if version >= NESTED else "")


def _reason(error: Exception) -> Reason:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return _REASONS.get(getattr(cause, "errno", None), "broken")


def _message(body: bytes | bytearray) -> str:
    """What an engine says in its refusals."""
    try:
        return _printable(str(orjson.loads(body)["message"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:200]
