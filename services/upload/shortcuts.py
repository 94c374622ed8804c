"""The ways in that small files, and the pieces of large ones, take by the hundred a second."""

from uuid import UUID

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from services.upload.dependencies import services_of
from services.upload.files.routes import upload_file
from services.upload.raw.routes import SAID, put_content
from services.upload.resumable.answers import spoken
from services.upload.resumable.routes import append_bytes, create_upload
from services.upload.resumable.rules import PATH
from shared.http import Shortcut, member_of_tenant, stopping_of


async def _create(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    return await create_upload(request, who, tenant, await services_of(request), await stopping_of(request))


async def _append(request: Request) -> Response:
    _, tenant = await member_of_tenant(request)
    said = request.scope["path"].removeprefix(f"{PATH}/")
    try:
        upload_id = UUID(said)
    except ValueError:
        place = {"loc": ("path", "upload_id"), "type": "uuid_parsing", "msg": "Input should be a valid UUID"}
        raise RequestValidationError([place]) from None
    return await append_bytes(upload_id, request, tenant, await services_of(request), await stopping_of(request))


async def _upload(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    return await upload_file(request, who, tenant, await services_of(request))


async def _put(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    said = {name: request.query_params.get(name) for name in SAID}
    return await put_content(request.scope["path"], request, who, tenant, await services_of(request), **said)


SHORTCUTS = (
    Shortcut("POST", PATH, spoken(_create)),
    Shortcut("PATCH", f"{PATH}/{{upload_id}}", spoken(_append)),
    Shortcut("POST", "/api/storage/upload", _upload),
    Shortcut("PUT", "/api/storage/content/{path}", _put),
)
