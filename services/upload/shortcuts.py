"""The ways in that small files take by the hundred a second."""

from fastapi import Request, Response

from services.upload.dependencies import services_of
from services.upload.files.routes import upload_file
from services.upload.raw.routes import SAID, put_content
from services.upload.resumable.answers import spoken
from services.upload.resumable.routes import create_upload
from services.upload.resumable.rules import PATH
from shared.http import Shortcut, member_of_tenant, stopping_of


async def _create(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    return await create_upload(request, who, tenant, await services_of(request), await stopping_of(request))


async def _upload(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    return await upload_file(request, who, tenant, await services_of(request))


async def _put(request: Request) -> Response:
    who, tenant = await member_of_tenant(request)
    said = {name: request.query_params.get(name) for name in SAID}
    return await put_content(request.scope["path"], request, who, tenant, await services_of(request), **said)


SHORTCUTS = (
    Shortcut("POST", PATH, spoken(_create)),
    Shortcut("POST", "/api/storage/upload", _upload),
    Shortcut("PUT", "/api/storage/content/{path}", _put),
)
