"""What every way in answers when the file is stored."""

from uuid import UUID

from fastapi.responses import JSONResponse

from services.upload.dependencies import UploadServices
from services.upload.files.models import StoredFile
from services.upload.files.schemas import FileOut, UploadOut, stored_row
from services.upload.intake.acceptance import Stored
from services.upload.quota.rules import State
from services.upload.quota.schemas import QuotaOut


def stored(services: UploadServices, result: Stored, status: int = 201) -> JSONResponse:
    """The file, a link to it for an hour, and the account right after it."""
    row = stored_row(result)
    headers = {"etag": f'"{row.sha256}"', "location": f"/api/storage/files/{row.id}/content"}
    return JSONResponse(_body(services, row, result.account), status, headers)


async def repeated(services: UploadServices, tenant: UUID, file_id: UUID, status: int = 201) -> JSONResponse:
    """The file an earlier request with the same key has stored; the rest of this one's body is not wanted."""
    file = await services.files.get(tenant, file_id)
    state = await services.accounts.state(tenant)
    headers = {"idempotent-replayed": "true", "connection": "close", "etag": f'"{file.sha256}"'}
    return JSONResponse(_body(services, file, state), status, headers)


def _body(services: UploadServices, file: StoredFile, account: State) -> dict[str, object]:
    link = services.links.make(file.tenant_id, file.id, 3600)
    out = UploadOut(**FileOut.of(file).model_dump(), file_url=link.url, quota=QuotaOut.of(account))
    return out.model_dump(mode="json")
