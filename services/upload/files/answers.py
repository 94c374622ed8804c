"""What every way in answers when the file is stored."""

from uuid import UUID

from fastapi import Response

from services.upload.dependencies import UploadServices
from services.upload.files.schemas import UploadOut
from services.upload.intake.acceptance import Stored
from services.upload.quota.schemas import QuotaOut
from shared.http import owner_headers


def stored(services: UploadServices, result: Stored, status: int = 201) -> Response:
    """The file, a link to it for an hour, and the account right after it."""
    file = result.event
    link = services.links.make(file.tenant_id, file.file_id, 3600)
    out = UploadOut.just(result, file_url=link.url, quota=QuotaOut.of(result.account))
    headers = {"etag": f'"{file.sha256}"', "location": f"/api/storage/files/{file.file_id}/content"}
    headers |= owner_headers(file.tenant_id, file.project_id)
    return Response(out.model_dump_json(), status, headers, "application/json")


async def repeated(services: UploadServices, tenant: UUID, file_id: UUID, status: int = 201) -> Response:
    """The file an earlier request with the same key has stored; the rest of this one's body is not wanted."""
    file = await services.files.get(tenant, file_id)
    state = await services.accounts.state(tenant)
    link = services.links.make(tenant, file.id, 3600)
    out = UploadOut.of(file, file_url=link.url, quota=QuotaOut.of(state))
    headers = {"idempotent-replayed": "true", "connection": "close", "etag": f'"{file.sha256}"'}
    headers |= owner_headers(tenant, file.project_id)
    return Response(out.model_dump_json(), status, headers, "application/json")
