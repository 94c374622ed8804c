import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from services.gateway.dependencies import Caller, GatewayParts, Parts, Scope, TenantUser
from services.gateway.events.rules import HEARTBEAT, RETRY, frame
from services.gateway.notifications.texts import language_of
from shared.http import Stopping, unless

router = APIRouter(tags=["notices"])

HEARTBEAT_SECONDS = 15.0


@router.get("/api/events", response_class=StreamingResponse)
async def stream_events(scope: TenantUser, caller: Caller, parts: Parts, stopping: Stopping) -> StreamingResponse:
    """Server-sent events: `usage` when a counter has moved, `notification` when there is something to tell."""
    parts.hub.check_room(scope.user_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = _events(parts, scope, language_of(caller.locale), stopping)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(parts: GatewayParts, scope: Scope, language: str, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """Ends by cancellation when the client leaves; a client that is left comes back by itself."""
    yield RETRY
    async with parts.hub.subscribe(scope.tenant_id, scope.user_id, language) as subscription:
        while not stopping.is_set() and not subscription.ended:
            found = await unless(stopping, subscription.next(HEARTBEAT_SECONDS))
            yield HEARTBEAT if found is None else frame(*found)
