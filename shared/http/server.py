"""Serving: uvicorn with httptools and uvloop, and a deadline for clients that never finish their headers."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.settings import ServiceSettings

HEADER_DEADLINE = 10.0  # seconds from connecting to a whole head
GRACE = 5  # seconds to finish what is under way when told to stop


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn waits for ever for the head of a first request; this does not."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEADER_DEADLINE, self._give_up)

    def on_headers_complete(self) -> None:
        self._deadline.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def server_for(app: Any, settings: ServiceSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
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
    return uvicorn.Server(config)


def serve(create: Callable[[Any], Any], settings: ServiceSettings) -> None:
    """Runs `create(settings)` until told to stop."""
    from shared import telemetry

    telemetry.setup(settings)
    server_for(create(settings), settings).run()
    telemetry.shutdown()
