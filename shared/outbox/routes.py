"""The ledger asked directly: how a consumer fetches what it sees missing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from shared.db import Database
from shared.errors import DomainError
from shared.http import ServiceOnly
from shared.outbox.stream import Stream


class OutboxItem(BaseModel):
    seq: int
    id: UUID
    type: str
    time: datetime
    body: str
    traceparent: str | None


class OutboxItems(BaseModel):
    items: list[OutboxItem]


def outbox_router(database: Database, streams: Sequence[Stream]) -> APIRouter:
    """`GET /internal/outbox/{topic}/{tenant_id}?after=&limit=`: events past `after`, in order, for services only."""
    router = APIRouter()
    known = {stream.topic: stream for stream in streams}

    @router.get("/internal/outbox/{topic}/{tenant_id}", include_in_schema=False)
    async def list_events(
        topic: str,
        tenant_id: UUID,
        _caller: ServiceOnly,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    ) -> OutboxItems:
        stream = known.get(topic)
        if stream is None:
            raise DomainError("not_found", 404, "no such stream")
        async with database.transaction(tenant_id) as connection:
            rows = await stream.fetch(connection, tenant_id, after, limit)
        return OutboxItems(
            items=[
                OutboxItem(
                    seq=row["seq"],
                    id=row["id"],
                    type=row["type"],
                    time=row["occurred_at"],
                    body=row["body"],
                    traceparent=row["traceparent"],
                )
                for row in rows
            ]
        )

    return router
