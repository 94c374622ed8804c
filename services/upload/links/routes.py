"""Links to files: made, listed, revoked; and followed, which needs no account: the signature is the permission."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from services.upload.dependencies import Services, Tenant
from services.upload.errors import LinkRefused
from services.upload.files import content
from services.upload.links.rules import Ticket
from services.upload.links.schemas import LinkIn, LinkOut, SignedOut
from services.upload.links.service import LONGEST
from shared.http import CurrentTenant, Page, Paging, encode_cursor

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("/files/{file_id}/url")
async def get_url(
    file_id: UUID, tenant: Tenant, services: Services, expires_in: Annotated[int, Query(ge=1, le=LONGEST)] = 3600
) -> SignedOut:
    """A link that needs no account, valid for `expires_in` seconds (1 second to 7 days)."""
    file = await services.files.get_live(tenant, file_id)
    link = services.links.make(tenant, file.id, expires_in)
    return SignedOut(id=link.id, url=link.url, expires_at=link.expires_at)


@router.post("/files/{file_id}/links", status_code=201)
async def create_link(file_id: UUID, body: LinkIn, who: CurrentTenant, tenant: Tenant, services: Services) -> LinkOut:
    """A link with a password, or for so many uses, that is listed from the beginning."""
    file = await services.files.get_live(tenant, file_id)
    link = await services.links.create(tenant, file.id, body.wanted(), who.user_id)
    return LinkOut.of(link, services.links.url_of(link), datetime.now(UTC))


@router.get("/links")
async def list_links(
    tenant: Tenant, services: Services, paging: Paging, file_id: Annotated[UUID | None, Query()] = None
) -> Page[LinkOut]:
    """Newest first."""
    found = await services.links.list_newest(tenant, paging.limit + 1, paging.cursor, file_id)
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1].created_at.isoformat(), found[-1].id) if more else None
    now = datetime.now(UTC)
    return Page(items=[LinkOut.of(link, services.links.url_of(link), now) for link in found], next_cursor=cursor)


@router.delete("/links/{link_id}", status_code=204)
async def revoke_link(link_id: UUID, tenant: Tenant, services: Services) -> None:
    """At once, whichever way the link was made."""
    await services.links.revoke(tenant, link_id)


@router.head("/signed/{tenant_id}/{file_id}", include_in_schema=False)
@router.get("/signed/{tenant_id}/{file_id}", response_class=Response)
async def get_signed(
    tenant_id: str,
    file_id: str,
    request: Request,
    services: Services,
    expires: Annotated[str, Query(max_length=12)],
    sig: Annotated[str, Query(max_length=64)],
    link: Annotated[str, Query(max_length=36)] = "",
    disposition: Annotated[content.Disposition | None, Query()] = None,
) -> Response:
    """403 `link_invalid` for anything altered, `link_expired`, `link_revoked`, `link_exhausted`; 401 where the link has
    a password, which Basic authentication brings, whatever the user name.
    """
    ticket = _ticket(tenant_id, file_id, link, expires)
    row = await services.links.open(ticket, sig, _password(request))
    wish = disposition or (row.disposition if row is not None else "attachment")
    ask = content.Ask(request.headers, head=request.method == "HEAD", inline=wish == "inline", shared=True)
    return await content.respond(
        services.files,
        lambda: services.files.get_live(ticket.tenant, ticket.file),
        ask,
        lambda file, answer: services.links.admit(ticket, file, answer),
    )


def _ticket(tenant: str, file: str, link: str, expires: str) -> Ticket:
    """Raises LinkRefused, also for another spelling of the same."""
    try:
        ticket = Ticket(UUID(tenant), UUID(file), UUID(link), int(expires))
    except ValueError:
        raise LinkRefused("link_invalid") from None
    if (str(ticket.tenant), str(ticket.file), str(ticket.link), str(ticket.expires)) != (tenant, file, link, expires):
        raise LinkRefused("link_invalid")
    return ticket


def _password(request: Request) -> str | None:
    scheme, _, told = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(told.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
