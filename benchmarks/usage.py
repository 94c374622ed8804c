"""Usage's HTTP process, which says with every answer how long it took inside: `Server-Timing: app;dur=` milliseconds,
from the request's head to that of the answer. What the server and the network add is not in it.
"""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from benchmarks import servers
from benchmarks.load import Answer, Line
from deploy.local.ports import free_port
from services.usage.main import create
from services.usage.settings import Settings
from shared.http import serve
from shared.security import Principal, sign
from shared.settings import load
from tests.fixtures.postgres import ServiceDatabase

SECRET = "s" * 40


class Timed:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun = time.perf_counter()

        async def timed(message: Any) -> None:
            if message["type"] == "http.response.start":
                took = f"app;dur={(time.perf_counter() - begun) * 1000:.3f}".encode()
                message["headers"] = [*message["headers"], (b"server-timing", took)]
            await send(message)

        await self._app(scope, receive, timed)


@asynccontextmanager
async def usage(database: ServiceDatabase) -> AsyncIterator[str]:
    """In a process of its own, without neighbours; yields its address."""
    port = free_port()
    told = {
        "MODE": "local",
        "PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": database.app,
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "INTERNAL_SECRET": SECRET,
        "TRACE_RATIO": "0.05",  # as in production
        **dict.fromkeys(("UPLOAD_URL", "BILLING_URL", "GATEWAY_URL"), "http://127.0.0.1:1"),
    }
    async with servers.process([sys.executable, "-m", "benchmarks.usage"], port, **told):
        yield f"http://127.0.0.1:{port}"


def line_of(url: str, tenant: UUID) -> Line:
    """A connection on which a member of the tenant asks."""
    who = Principal(kind="user", user_id=tenant, tenant_id=tenant, tenant_slug="bench", role="owner")
    token = sign(who, secret=SECRET, audience="usage", issuer="gateway", lifetime=3600)
    return Line(url, {"stowage-internal": token})


def inside(answer: Answer) -> float:
    """Milliseconds that an answer took in the service."""
    return float(answer.headers["server-timing"].rpartition("=")[2])


if __name__ == "__main__":
    serve(lambda settings: Timed(create(settings)), load(Settings))
