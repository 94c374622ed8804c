"""Asking a sister service: signed, with a deadline, in the caller's trace."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import orjson

from shared.errors import UpstreamError
from shared.security import Principal, sign
from shared.security.internal import HEADER, LIFETIME
from shared.telemetry import current_traceparent

SERVICE = Principal(kind="service")


class ServiceClient:
    """Keeps connections to one service. `issuer` is the caller's name, `audience` the one asked."""

    def __init__(self, base_url: str, secret: str, *, issuer: str, audience: str, timeout: float = 5.0) -> None:
        self._base = base_url.rstrip("/")
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._token = ("", 0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        principal: Principal | None = None,
        json: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """The decoded answer; raises UpstreamError for any status of 400 and more, or when there is no answer.

        A GET that lost its connection is asked once more: an idle one may just have been closed by the other side.
        """
        for attempt in (1, 2):
            try:
                return await self._request(method, path, principal, json, timeout or self._timeout)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if method != "GET" or attempt == 2:
                    raise UpstreamError(503, "unreachable", f"{self._audience}: {error}") from error
            except (aiohttp.ClientError, TimeoutError) as error:
                raise UpstreamError(503, "unreachable", f"{self._audience}: {type(error).__name__}") from error
        raise AssertionError("unreachable")

    async def stream(self, method: str, path: str, *, json: Any = None, timeout: float) -> AsyncIterator[bytes]:
        """The answer as it comes. Raises UpstreamError, also when it breaks off; never asks twice."""
        try:
            async with asyncio.timeout(timeout), self._answered(method, path, None, json) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError(503, "unreachable", f"{self._audience}: {type(error).__name__}") from error

    async def _request(self, method: str, path: str, principal: Principal | None, json: Any, timeout: float) -> Any:
        async with asyncio.timeout(timeout), self._answered(method, path, principal, json) as response:
            body = await response.read()
        if response.status >= 400:
            raise _refusal(response.status, body)
        try:
            return orjson.loads(body) if body else None
        except orjson.JSONDecodeError as error:
            raise UpstreamError(503, "unreadable", f"{self._audience} answered no JSON") from error

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, principal: Principal | None, json: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=30))
            # It would repeat what was lost by itself, deletions too; who asks decides that here.
            self._session._retry_connection = False  # noqa: SLF001 - there is no public way; a test holds it
        headers = {HEADER: self._sign(principal)}
        traceparent = current_traceparent()
        if traceparent is not None:
            headers["traceparent"] = traceparent
        data = None
        if json is not None:
            data = orjson.dumps(json)
            headers["content-type"] = "application/json"
        # The caller has a deadline of its own; aiohttp's would end a long answer after five minutes.
        patience = aiohttp.ClientTimeout()
        url = self._base + path
        async with self._session.request(method, url, data=data, headers=headers, timeout=patience) as response:
            yield response

    def _sign(self, principal: Principal | None) -> str:
        if principal is not None:
            return sign(principal, secret=self._secret, audience=self._audience, issuer=self._issuer)
        token, until = self._token
        if until < time.monotonic():
            token = sign(SERVICE, secret=self._secret, audience=self._audience, issuer=self._issuer)
            self._token = (token, time.monotonic() + LIFETIME / 2)
        return token


def _refusal(status: int, body: bytes) -> UpstreamError:
    try:
        told = orjson.loads(body)
        return UpstreamError(status, str(told["code"]), str(told["detail"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return UpstreamError(status, "unknown", f"answered {status}")
