import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from services.gateway.dependencies import Parts, TenantUser
from services.gateway.events.hub import Hub
from services.gateway.events.rules import HEARTBEAT, RETRY, frame
from shared.http import Stopping, unless

router = APIRouter(tags=["notices"])

HEARTBEAT_SECONDS = 15.0


@router.get("/api/events", response_class=StreamingResponse)
async def stream_events(scope: TenantUser, parts: Parts, stopping: Stopping) -> StreamingResponse:
    """Server-sent events: `usage` when a counter has moved, `notification` when there is something to tell."""
    parts.hub.check_room(scope.user_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(
        _events(parts.hub, scope.tenant_id, scope.user_id, stopping), media_type="text/event-stream", headers=headers
    )


async def _events(hub: Hub, tenant: UUID, user: UUID, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """Ends by cancellation when the client leaves; a client that is left comes back by itself."""
    yield RETRY
    async with hub.subscribe(tenant, user) as subscription:
        while not stopping.is_set() and not subscription.ended:
            found = await unless(stopping, subscription.next(HEARTBEAT_SECONDS))
            yield HEARTBEAT if found is None else frame(*found)
