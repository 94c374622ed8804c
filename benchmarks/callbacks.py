"""Callbacks taken in: checked, recorded and acknowledged, beside a bare handler that inserts the raw body."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import orjson
import uvicorn
from fastapi import FastAPI, Request

from benchmarks.report import Row
from deploy.local.ports import free_port
from services.billing.main import create
from services.billing.settings import Settings
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer
from tests.services.billing.door import SECRET
from tests.services.billing.world import KEY, settings, signed

CLIENTS = 32
SECONDS = 4.0
ROUNDS = 3
POOL = 16

Build = Callable[[], bytes]


async def run(pg: PostgresServer) -> list[Row]:
    dsn = pg.create("billing").app
    bare_dsn = pg.empty()
    ours, bare = [], []
    async with _served(create(_settings(dsn))) as address, _served(_bare(bare_dsn)) as plain:
        for _ in range(ROUNDS):
            bare.append(await _rate(plain, _request("/callback")))
            ours.append(await _rate(address, _request("/api/payments/callback")))
    ratio = max(ours) / max(bare)
    return [
        Row(
            "callback intake",
            "callbacks/s",
            max(ours),
            max(bare),
            None,
            f"{ratio:.2f} × a bare handler",
            "≥ 0.8 × a bare handler",
            ratio >= 0.8,
            "the bare handler is FastAPI that inserts the raw body and checks nothing; the best of "
            f"{ROUNDS} rounds each, in turn, in one process with the clients",
        )
    ]


def _bare(dsn: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as app.state.pool:
            await app.state.pool.execute("CREATE TABLE callback (id bigserial PRIMARY KEY, body bytea)")
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/callback", status_code=202)
    async def take(request: Request) -> dict[str, str]:
        await app.state.pool.execute("INSERT INTO callback (body) VALUES ($1)", await request.body())
        return {"status": "accepted"}

    return app


def _settings(dsn: str) -> Settings:
    return settings(dsn, "http://127.0.0.1:1", "http://127.0.0.1", database_pool=POOL, trace_ratio=0)


def _request(path: str) -> Build:
    token = sign(Principal(), secret=SECRET, audience="billing", issuer="gateway", lifetime=600)

    def build() -> bytes:
        data = {
            "external_payment_id": f"ext_{uuid4().hex}",
            "payment_id": str(uuid4()),
            "status": "completed",
            "amount": "3.00",
            "currency": "EUR",
            "transaction_id": f"txn_{uuid4().hex}",
        }
        body = orjson.dumps({"type": "payment.completed", "data": data})
        event, stamp = f"evt_{uuid4().hex}", str(int(time.time()))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
            f"stowage-internal: {token}\r\nwebhook-id: {event}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: {signed(KEY, event, stamp, body)}\r\n\r\n"
        )
        return head.encode() + body

    return build


async def _rate(port: int, build: Build) -> float:
    done, end = 0, time.perf_counter() + SECONDS

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            writer.write(build())
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert answer.split()[1] == b"202", answer
            length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            done += 1
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - begun)


class _served:  # noqa: N801 - used like a function
    """An application on a free port, in this loop."""

    def __init__(self, app: FastAPI) -> None:
        self._port = free_port()
        config = uvicorn.Config(app, host="127.0.0.1", port=self._port, log_config=None, access_log=False, ws="none")
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> int:
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        return self._port

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task
