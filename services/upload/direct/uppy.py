"""What Uppy's S3 plugin asks of a server (its `companionEndpoint` is `/api/storage`): the same uploads by other names.

The plugin says a file's name and type, and the metadata of the page: `category` and whatever else places the file,
and `size`, without which a file is held space for part by part. It does not say when a form has been sent: such an
upload is completed when its bytes are found in the store.
"""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, NoReturn
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from services.upload.dependencies import Services, Tenant, UploadServices
from services.upload.direct import rules
from services.upload.direct.completion import Said
from services.upload.direct.errors import BackendUnsupported, CompletionInProgress, SizeUnknown
from services.upload.direct.routes import uploaded
from services.upload.direct.rules import Listed
from services.upload.direct.schemas import read_placement
from services.upload.direct.service import Announced
from services.upload.errors import InvalidUpload
from services.upload.files.rules import Tree
from services.upload.intake.acceptance import Sender
from shared.errors import DomainError
from shared.http import CurrentTenant

router = APIRouter(prefix="/api/storage/s3", tags=["uppy"])

_META = re.compile(r"metadata\[(\w{1,64})\]")


class UppyParamsOut(BaseModel):
    method: str
    url: str
    fields: dict[str, str]
    expires: int


class UppyMultipartIn(BaseModel):
    filename: str
    type: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class UppyMultipartOut(BaseModel):
    key: str
    uploadId: UUID  # noqa: N815 - Uppy's names, here and below
    bucket: str = ""


class UppyPart(BaseModel):
    PartNumber: int
    Size: int | None = None
    ETag: str = ""


class UppyCompleteIn(BaseModel):
    parts: list[UppyPart] = Field(max_length=rules.PARTS)


class UppyCompleteOut(BaseModel):
    """`location` is signed and valid for an hour."""

    location: str
    key: str
    bucket: str = ""
    file_id: UUID


class UppyPartUrl(BaseModel):
    url: str
    expires: datetime


class UppyBatchOut(BaseModel):
    presignedUrls: dict[int, str]  # noqa: N815


@router.get("/params")
async def get_params(
    request: Request,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    filename: Annotated[str, Query()],
    type: Annotated[str | None, Query()] = None,  # noqa: A002 - Uppy's name
) -> UppyParamsOut:
    """A form for one small file, of which the metadata has to say the `size`."""
    said = {found[1]: value for key, value in request.query_params.items() if (found := _META.fullmatch(key))}
    announced = _announced(services.intake.policy.tree, filename, type, said, collects=True)
    if announced.size is None:
        raise SizeUnknown
    upload, offer = await services.direct.uploads.open(Sender(tenant, who.user_id), announced)
    if offer.method != "POST" or offer.url is None:
        await services.direct.uploads.abort(tenant, upload.id)
        _refuse()
    return UppyParamsOut(method="POST", url=offer.url, fields=dict(offer.fields), expires=upload.lifetime)


@router.post("/multipart")
async def create_multipart(
    body: UppyMultipartIn, who: CurrentTenant, tenant: Tenant, services: Services
) -> UppyMultipartOut:
    announced = _announced(services.intake.policy.tree, body.filename, body.type, body.metadata, in_parts=True)
    upload, offer = await services.direct.uploads.open(Sender(tenant, who.user_id), announced)
    if "multipart" not in offer.backend:
        await services.direct.uploads.abort(tenant, upload.id)
        _refuse()
    return UppyMultipartOut(key=upload.staged, uploadId=upload.id)


@router.get("/multipart/{upload_id}")
async def list_parts(upload_id: UUID, tenant: Tenant, services: Services) -> list[UppyPart]:
    parts = await services.direct.uploads.parts(tenant, upload_id)
    return [UppyPart(PartNumber=part.number, Size=part.size, ETag=part.etag) for part in parts]


@router.get("/multipart/{upload_id}/batch")
async def sign_parts(
    upload_id: UUID, tenant: Tenant, services: Services, part_numbers: Annotated[str, Query(alias="partNumbers")]
) -> UppyBatchOut:
    try:
        numbers = [int(number) for number in part_numbers.split(",")]
    except ValueError:
        raise InvalidUpload("invalid_part_number", "Part numbers are separated by commas.") from None
    _, urls = await services.direct.uploads.part_urls(tenant, upload_id, numbers)
    return UppyBatchOut(presignedUrls=dict(zip(numbers, urls, strict=True)))


@router.get("/multipart/{upload_id}/{part_number}")
async def sign_part(upload_id: UUID, part_number: int, tenant: Tenant, services: Services) -> UppyPartUrl:
    upload, urls = await services.direct.uploads.part_urls(tenant, upload_id, [part_number])
    return UppyPartUrl(url=urls[0], expires=upload.expires_at)


@router.post("/multipart/{upload_id}/complete", response_model=UppyCompleteOut)
async def complete_multipart(upload_id: UUID, body: UppyCompleteIn, tenant: Tenant, services: Services) -> Response:
    """A large file takes long to be read: then the answer is 200 soon, blanks come meanwhile, and the outcome ends the
    body. It is JSON if the file is stored, and plain text if it was refused.
    """
    said = Said([Listed(part.PartNumber, part.ETag) for part in body.parts])
    try:
        return Response(await _complete(services, tenant, upload_id, said), media_type="application/json")
    except CompletionInProgress:
        return StreamingResponse(_await(services, tenant, upload_id, said), media_type="application/json")


@router.delete("/multipart/{upload_id}")
async def abort_multipart(upload_id: UUID, tenant: Tenant, services: Services) -> dict[str, str]:
    await services.direct.uploads.abort(tenant, upload_id)
    return {}


@router.get("/sts", response_model=None)
@router.post("/sts", response_model=None)
async def get_credentials(tenant: Tenant) -> NoReturn:  # noqa: ARG001 - only who is signed in hears of it
    """Always 403: credentials of the store could not be kept to one upload and its size."""
    raise DomainError("credentials_refused", 403, "The store's credentials are given to nobody; ask for signed URLs.")


async def _complete(services: UploadServices, tenant: UUID, upload_id: UUID, said: Said) -> bytes:
    out = await uploaded(services, await services.direct.uploads.complete(tenant, upload_id, said))
    made = UppyCompleteOut(location=out.file_url, key=out.file_path, file_id=out.file_id)
    return made.model_dump_json().encode()


async def _await(services: UploadServices, tenant: UUID, upload_id: UUID, said: Said) -> AsyncIterator[bytes]:
    """As S3 itself does: blanks mean nothing in JSON, and nobody on the way takes the connection for dead. The plugin
    asks only once, and believes any JSON after a 200: what was refused must be none.
    """
    while True:
        yield b" "
        try:
            yield await _complete(services, tenant, upload_id, said)
        except CompletionInProgress:
            continue
        except DomainError as error:
            yield f"{error.code}: {error.detail}".encode()
        return


def _announced(
    tree: Tree, name: str, kind: str | None, said: Mapping[str, Any], *, in_parts: bool = False, collects: bool = False
) -> Announced:
    return Announced(
        placement=read_placement(tree, name, said, kind),
        size=_size(said.get("size")),
        in_parts=in_parts,
        collects=collects,
    )


def _size(said: Any) -> int | None:
    """Raises InvalidUpload."""
    if said in (None, ""):
        return None
    text = str(said)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidUpload("invalid_size", "size is a number of bytes.")
    return int(text)


def _refuse() -> NoReturn:
    raise BackendUnsupported("Uppy's S3 plugin needs an S3 store; here Uppy speaks tus.")
