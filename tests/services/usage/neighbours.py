"""Upload, billing and gateway as HTTP answers, on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler

from services.usage.entitlements.rules import Terms
from shared.errors import DomainError
from shared.kafka.records import Record
from tests.services.usage.fakes import FakeBilling, FakeLedger
from tests.services.usage.samples import FREE


@asynccontextmanager
async def neighbours(billing: FakeBilling, ledger: FakeLedger) -> AsyncIterator[str]:
    """Yields the address all are found at."""

    async def entitlements(request: web.Request) -> web.Response:
        terms: Terms = await billing.get(UUID(request.match_info["tenant"]))
        body = FREE.model_copy(update={"storage_bytes": terms.limit, **billing.others}).model_dump()
        return web.json_response(
            {"version": terms.version, "plan": terms.plan, "plan_version": 1, "entitlements": body}
        )

    async def proof(request: web.Request) -> web.Response:
        answer = await ledger.prove(UUID(request.match_info["tenant"]), int(request.query["position"]))
        return web.json_response(answer.model_dump() | {"pending": []})

    async def look_back(request: web.Request) -> web.Response:
        time = datetime.fromisoformat(request.query["time"])
        answer = await ledger.look_back(UUID(request.match_info["tenant"]), time)
        return web.json_response(answer.model_dump(mode="json"))

    async def outbox(request: web.Request) -> web.Response:
        after = int(request.query["after"])
        topic = request.match_info["topic"]
        known = [entry for entry in ledger.entries if entry.topic == topic]
        items = [_item(entry) for entry in known if after < entry.seq <= after + int(request.query["limit"])]
        return web.json_response({"items": items})

    @web.middleware
    async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except DomainError as error:
            return web.json_response({"code": error.code, "detail": error.detail}, status=error.status)

    app = web.Application(middlewares=[problems])
    app.router.add_get("/internal/entitlements/{tenant}", entitlements)
    app.router.add_get("/internal/ledger/{tenant}/proof", proof)
    app.router.add_get("/internal/ledger/{tenant}/at", look_back)
    app.router.add_get("/internal/outbox/{topic}/{tenant}", outbox)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _item(entry: Record) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "id": str(entry.id),
        "type": entry.type,
        "time": entry.time.isoformat(),
        "body": entry.body.decode(),
        "traceparent": entry.traceparent,
    }
