"""Pages of files: the list, the trash, one file."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from services.gateway.dependencies import Caller, Parts
from services.gateway.identity.visitors import Visitor
from services.gateway.pages.file_source import FileSource
from services.gateway.pages.render import render
from services.gateway.pages.rules import LINK_LIVES
from shared.errors import UpstreamError
from shared.http import CurrentPrincipal
from shared.security import Principal

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=1024)]


@router.get("/app/files")
async def files(
    request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal, name: Text = "", cursor: Text = ""
) -> Response:
    return await _list(request, caller, parts, principal, name=name.strip()[:255], cursor=cursor, trash=False)


@router.get("/app/trash")
async def trash(
    request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal, cursor: Text = ""
) -> Response:
    return await _list(request, caller, parts, principal, name="", cursor=cursor, trash=True)


@router.get("/app/files/{file_id}/details")
async def details(
    file_id: UUID, request: Request, caller: Caller, parts: Parts, principal: CurrentPrincipal
) -> Response:
    if caller.account is None:
        return RedirectResponse("/", 303)
    try:
        view = await FileSource(parts.clients).view(principal, file_id)
    except UpstreamError as error:
        return RedirectResponse(f"/app/files?notice={'not_found' if error.status == 404 else 'refused'}", 303)
    return render(
        request,
        "file.html",
        caller,
        parts.form_key,
        here="files",
        file=view.file,
        links=view.links,
        lives=LINK_LIVES,
    )


async def _list(
    request: Request, caller: Visitor, parts: Parts, who: Principal, *, name: str, cursor: str, trash: bool
) -> Response:
    if caller.account is None:
        return RedirectResponse("/", 303)
    source = FileSource(parts.clients)
    return render(
        request,
        "browse.html",
        caller,
        parts.form_key,
        here="files",
        listing=await source.list_files(who, name=name, cursor=cursor, trash=trash),
        trash=trash,
        keeps_trash=trash or await source.keeps_trash(who),
        name=name,
        later=bool(cursor),
    )
