from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.gateway.dependencies import Caller, Parts, TenantUser
from services.gateway.errors import CursorInvalid, NotificationNotFound
from services.gateway.notifications.models import Notification
from services.gateway.notifications.repository import NotificationRepository
from services.gateway.notifications.texts import language_of
from services.gateway.notifications.wording import told_in
from shared.http import Page, PageRequest, Paging, encode_cursor

router = APIRouter(prefix="/api/notifications", tags=["notices"])


class NotificationOut(BaseModel):
    id: UUID
    kind: str
    title: str
    body: str
    created_at: datetime
    read_at: datetime | None
    data: dict[str, Any]

    @classmethod
    def of(cls, n: Notification) -> "NotificationOut":
        return cls(
            id=n.id, kind=n.kind, title=n.title, body=n.body, created_at=n.created_at, read_at=n.read_at, data=n.data
        )


@router.get("")
async def list_notifications(scope: TenantUser, caller: Caller, parts: Parts, page: Paging) -> Page[NotificationOut]:
    """What the tenant was told, newest first, in the caller's language."""
    async with parts.database.transaction(scope.tenant_id) as connection:
        found = await NotificationRepository(connection).list_for(scope.tenant_id, page.limit + 1, _before(page))
    shown, last = found[: page.limit], found[page.limit - 1 : page.limit]
    more = encode_cursor(last[0].created_at, last[0].id) if len(found) > page.limit else None
    language = language_of(caller.locale)
    return Page(items=[NotificationOut.of(told_in(language, n)) for n in shown], next_cursor=more)


@router.post("/{notification_id}/read", status_code=204)
async def mark_read(notification_id: UUID, scope: TenantUser, parts: Parts) -> Response:
    """Safe to repeat; the first time counts."""
    async with parts.database.transaction(scope.tenant_id) as connection:
        if not await NotificationRepository(connection).mark_read(scope.tenant_id, notification_id, parts.clock.now()):
            raise NotificationNotFound
    return Response(status_code=204)


def _before(page: PageRequest) -> tuple[datetime, UUID] | None:
    """Raises DomainError for a cursor of another list."""
    if page.cursor is None:
        return None
    try:
        at, last = page.cursor
        return datetime.fromisoformat(at), UUID(last)
    except (ValueError, TypeError, AttributeError) as error:
        raise CursorInvalid from error
