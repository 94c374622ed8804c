"""Connections to one service, kept while they are warm."""

import asyncio
from collections import deque
from urllib.parse import urlsplit

from services.gateway.proxy.connection import Connection
from services.gateway.proxy.errors import UpstreamTimeout, UpstreamUnreachable

# Below the 75 seconds after which the services' servers close an idle connection, so that none is chosen as it dies.
IDLE_SECONDS = 50.0
MAX_IDLE = 64


class Pool:
    """Last used, first taken: a quiet hour leaves few connections."""

    def __init__(self, url: str, *, connect_timeout: float = 3.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"a service's address looks like http://host:port, not {url}")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.authority = parts.netloc.encode()
        self._connect_timeout = connect_timeout
        self._idle: deque[Connection] = deque()

    async def acquire(self, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection, and whether it has been used before. Raises UpstreamUnreachable, UpstreamTimeout."""
        loop = asyncio.get_running_loop()
        self._drop_cold(loop.time())
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.reusable:
                return connection, True
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(Connection, self.host, self.port)
        except TimeoutError:
            raise UpstreamTimeout("the service did not take the connection in time") from None
        except OSError as error:
            raise UpstreamUnreachable(f"the service cannot be reached: {error.strerror or error}") from error
        return connection, False

    def release(self, connection: Connection) -> None:
        """Keeps it for the next exchange when the last one ended cleanly, else ends it."""
        if connection.reusable and len(self._idle) < MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def _drop_cold(self, now: float) -> None:
        while self._idle and now - self._idle[0].idle_since > IDLE_SECONDS:
            self._idle.popleft().abort()
