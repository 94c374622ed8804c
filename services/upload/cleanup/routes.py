"""`/api/user/storage-cleanup`, for those who manage the tenant."""

from uuid import UUID

from fastapi import APIRouter

from services.upload.cleanup.schemas import CleanupIn, CleanupOut, CleanupSummary
from services.upload.dependencies import MANAGERS, Services, Tenant
from shared.errors import DomainError
from shared.http import CurrentTenant, Page, PageRequest, Paging, encode_cursor

router = APIRouter(prefix="/api/user/storage-cleanup", tags=["user"], dependencies=[MANAGERS])

INVALID_CURSOR = DomainError("invalid_cursor", 422, "The cursor is not one of ours.")


@router.post("")
async def clean_up(
    body: CleanupIn, who: CurrentTenant, tenant: Tenant, services: Services, paging: Paging
) -> CleanupOut:
    """Plans, and unless it is a dry run does it. With `plan_id` it does what that plan has shown."""
    cleanup = body.plan_id
    if cleanup is None:
        if not body.wanted.kinds:
            raise DomainError("nothing_to_clean_up", 422, "Say what is to be cleaned up.")
        cleanup = await services.cleanup.plan(tenant, body.wanted, who.user_id)
    if not body.dry_run:
        await services.cleanup.run(tenant, cleanup, who.user_id)
    return await _show(services, tenant, cleanup, PageRequest(paging.limit, None))


@router.get("/history")
async def list_cleanups(tenant: Tenant, services: Services, paging: Paging) -> Page[CleanupSummary]:
    """Those that were done, newest first."""
    before = _before(paging)
    rows = await services.cleanup.list_ended(tenant, paging.limit + 1, before)
    shown = rows[: paging.limit]
    cursor = encode_cursor(shown[-1]["id"]) if len(rows) > paging.limit else None
    return Page(items=[CleanupSummary.of(row) for row in shown], next_cursor=cursor)


@router.get("/{plan_id}")
async def get_cleanup(plan_id: UUID, tenant: Tenant, services: Services, paging: Paging) -> CleanupOut:
    return await _show(services, tenant, plan_id, paging)


async def _show(services: Services, tenant: UUID, cleanup: UUID, paging: PageRequest) -> CleanupOut:
    row = await services.cleanup.get(tenant, cleanup)
    items = await services.cleanup.list_items(tenant, cleanup, _number(paging), paging.limit + 1)
    more = len(items) > paging.limit
    items = items[: paging.limit]
    return CleanupOut.showing(row, items, encode_cursor(items[-1]["number"]) if more else None)


def _number(paging: PageRequest) -> int:
    match paging.cursor:
        case None:
            return 0
        case [int(number)] if 0 <= number < 2**31:
            return number
    raise INVALID_CURSOR


def _before(paging: PageRequest) -> UUID | None:
    if paging.cursor is None:
        return None
    try:
        return UUID(paging.cursor[0])
    except (ValueError, IndexError, AttributeError, TypeError):
        raise INVALID_CURSOR from None
