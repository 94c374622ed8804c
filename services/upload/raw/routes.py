"""`PUT /api/storage/content/{category}/{folders}/{name}`: the body is the file."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from services.upload.dependencies import Services, Tenant
from services.upload.files.answers import repeated, stored
from services.upload.files.routes import STRIPS
from services.upload.files.schemas import UploadOut
from services.upload.intake import headers
from services.upload.intake.acceptance import Repeated, Sender
from services.upload.intake.placement import Placement
from services.upload.raw.rules import Address, Wanted, sha256_of
from services.upload.raw.service import Announced
from shared.errors import DomainError
from shared.events import FileReplaced
from shared.http import UNLIMITED_BODY, Body, ClientGone, CurrentTenant, problem_response

router = APIRouter(prefix="/api/storage", tags=["storage"])

BEFORE = 3  # segments: api, storage, content
SAID = ("subcategory", "entity_id", "project_id", "metadata", "strip_location")  # in the query


class _Anything(Convertor[str]):
    """Starlette's own `path` takes no line break, so a name with one would not be refused but not be found."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())

_BODY = {"requestBody": {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.put(
    "/content/{path:anything}",
    response_model=UploadOut,
    responses={201: {"model": UploadOut, "description": "There was none"}},
    openapi_extra=_BODY,
    max_body_size=UNLIMITED_BODY,
)
async def put_content(
    path: str,  # noqa: ARG001 - it is read as it travelled
    request: Request,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    subcategory: Annotated[str | None, Query()] = None,
    entity_id: Annotated[str | None, Query()] = None,
    project_id: Annotated[str | None, Query()] = None,
    metadata: Annotated[str | None, Query(description="A JSON object")] = None,
    strip_location: Annotated[str | None, Query(description=STRIPS)] = None,
) -> Response:
    """Stores one file (201), or replaces the one that is there (200). `Repr-Digest` or `Content-Digest` with sha-256 is
    checked; `If-Match` and `If-None-Match: *` hold until the moment it is stored; the length may be unknown.
    """
    said = {
        "subcategory": subcategory,
        "entity_id": entity_id,
        "project_id": project_id,
        "metadata": metadata,
        "strip_location": strip_location,
    }
    body = Body(request, idle=services.idle_seconds)
    try:
        announced = _announced(request, services, said)
        if announced.idempotency_key is not None:
            known = await services.files.find_by_key(tenant, announced.idempotency_key)
            if known is not None:
                return await repeated(services, tenant, known.id, 200)
        upload = await services.raw.begin(Sender(tenant, who.user_id), announced)
        result = await upload.receive(body)
    except ClientGone:
        # Nobody reads this answer.
        return problem_response(400, "incomplete_body", "The body ended early.", headers={"connection": "close"})
    except DomainError as error:
        # The rest of the body is not wanted, so neither is the connection.
        return problem_response(error.status, error.code, error.detail, headers={"connection": "close"}, **error.extras)
    if isinstance(result, Repeated):
        return await repeated(services, tenant, result.file_id, 200)
    return stored(services, result, 200 if isinstance(result.event, FileReplaced) else 201)


def _announced(request: Request, services: Services, said: dict[str, str | None]) -> Announced:
    given = request.headers
    headers.check_whole(given)
    address = Address.read(request.scope["raw_path"], BEFORE)
    said |= {"category": address.category, "folder": address.folder}
    tree = services.intake.policy.tree
    return Announced(
        Placement.read(tree, address.name, lambda name: said.get(name) or None, given.get("content-type")),
        Wanted.read(given.get("if-match"), given.get("if-none-match")),
        headers.number(given, "content-length"),
        sha256_of(given.get("repr-digest"), given.get("content-digest")),
        headers.idempotency_key(given),
    )
