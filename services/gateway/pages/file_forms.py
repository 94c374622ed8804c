"""Forms on the pages of files."""

from collections.abc import Awaitable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Response
from fastapi.responses import RedirectResponse

from services.gateway.dependencies import Parts
from services.gateway.pages.file_source import FileSource
from services.gateway.pages.forms import Text, check_form
from services.gateway.pages.rules import LINK_LIVES, code_of_refusal
from shared.errors import UpstreamError
from shared.http import CurrentTenant

router = APIRouter(include_in_schema=False, dependencies=[Depends(check_form)])


@router.post("/app/files/{file_id}/rename")
async def rename(file_id: UUID, parts: Parts, tenant: CurrentTenant, name: Text = "") -> Response:
    doing = FileSource(parts.clients).rename(tenant, file_id, name.strip())
    return await _then(doing, "renamed", f"/app/files/{file_id}/details")


@router.post("/app/files/{file_id}/share")
async def share(
    file_id: UUID,
    parts: Parts,
    tenant: CurrentTenant,
    expires_in: Annotated[int, Form()] = 3600,
    password: Annotated[str, Form(max_length=256)] = "",
) -> Response:
    seconds = expires_in if expires_in in LINK_LIVES else 3600
    doing = FileSource(parts.clients).share(tenant, file_id, seconds, password)
    return await _then(doing, "shared", f"/app/files/{file_id}/details", "links")


@router.post("/app/files/{file_id}/links/{link_id}/revoke")
async def revoke(file_id: UUID, link_id: UUID, parts: Parts, tenant: CurrentTenant) -> Response:
    doing = FileSource(parts.clients).revoke(tenant, link_id)
    return await _then(doing, "revoked", f"/app/files/{file_id}/details", "links")


@router.post("/app/trash/{file_id}/restore")
async def restore(file_id: UUID, parts: Parts, tenant: CurrentTenant) -> Response:
    return await _then(FileSource(parts.clients).restore(tenant, file_id), "restored", "/app/trash")


@router.post("/app/trash/{file_id}/delete")
async def delete_for_good(file_id: UUID, parts: Parts, tenant: CurrentTenant) -> Response:
    return await _then(FileSource(parts.clients).delete_for_good(tenant, file_id), "deleted", "/app/trash")


async def _then(doing: Awaitable[None], done: str, page: str, place: str = "") -> Response:
    """Back to the page, with what became of it."""
    notice = done
    try:
        await doing
    except UpstreamError as error:
        notice = code_of_refusal(error.status, error.code)
    return RedirectResponse(f"{page}?notice={notice}{'#' + place if place else ''}", 303)
