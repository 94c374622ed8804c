"""What a route may ask for, built once in `main.py`."""

from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request

from services.upload.cleanup.service import CleanupService
from services.upload.direct.open import Direct
from services.upload.erasure.service import ErasureService
from services.upload.exports.service import ExportService
from services.upload.files.copying import CopyService
from services.upload.files.moving import MoveService
from services.upload.files.replacing import ReplaceService
from services.upload.files.service import FileService
from services.upload.findings.service import FindingReports
from services.upload.folders.service import FolderService
from services.upload.images.quota.service import ImageQuotaService
from services.upload.images.service import ImageService
from services.upload.images.thumbnails.service import ThumbnailService
from services.upload.images.upload import ImageUploads
from services.upload.intake.intake import Intake
from services.upload.ledger.download import LedgerDownload
from services.upload.ledger.folds import LedgerFolds
from services.upload.ledger.service import ProofService
from services.upload.ledger.transactions import TransactionService
from services.upload.links.service import LinkService
from services.upload.overview.service import OverviewService
from services.upload.preflight.service import PreflightService
from services.upload.quota.service import AccountService
from services.upload.raw.service import RawService
from services.upload.reconciliation.reports import ReconciliationReports
from services.upload.reconciliation.service import Reconciler
from services.upload.resumable.wiring import Resumable
from services.upload.scans.service import ScanReports
from services.upload.trash.service import TrashService
from services.upload.versions.service import VersionService
from shared.errors import DomainError
from shared.http import CurrentTenant


@dataclass(frozen=True, slots=True)
class UploadServices:
    accounts: AccountService
    intake: Intake
    resumable: Resumable
    files: FileService
    moving: MoveService
    copies: CopyService
    replacing: ReplaceService
    trash: TrashService
    folders: FolderService
    versions: VersionService
    direct: Direct
    links: LinkService
    transactions: TransactionService
    download: LedgerDownload
    proof: ProofService
    folds: LedgerFolds
    cleanup: CleanupService
    overview: OverviewService
    exports: ExportService
    erasure: ErasureService
    raw: RawService
    scans: ScanReports
    findings: FindingReports
    reconciler: Reconciler
    reconciliations: ReconciliationReports
    preflight: PreflightService
    images: ImageService
    image_quota: ImageQuotaService
    image_uploads: ImageUploads
    thumbnails: ThumbnailService
    idle_seconds: float


async def services_of(request: Request) -> UploadServices:
    return cast("UploadServices", request.app.state.services)


async def _tenant(principal: CurrentTenant) -> UUID:
    return cast("UUID", principal.tenant_id)  # CurrentTenant has refused everybody without one


async def _manager(principal: CurrentTenant) -> None:
    if not principal.manages:
        raise DomainError("manager_required", 403, "Only owners and admins of the team may do this.")


Services = Annotated[UploadServices, Depends(services_of)]
Tenant = Annotated[UUID, Depends(_tenant)]
MANAGERS = Depends(_manager)
