"""The HTTP process: `python -m services.upload.main`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta

from fastapi import FastAPI

from services.upload.blobs.open import open_locations
from services.upload.cleanup import routes as cleanup
from services.upload.cleanup.service import CleanupService
from services.upload.dependencies import UploadServices
from services.upload.direct import routes as direct
from services.upload.direct import uppy
from services.upload.direct.open import open_direct
from services.upload.entitlements.service import EntitlementService
from services.upload.erasure import routes as erasure
from services.upload.erasure.service import ErasureService
from services.upload.exports import routes as exports
from services.upload.exports.service import ExportService
from services.upload.files import routes as files
from services.upload.files.copying import CopyService
from services.upload.files.moving import MoveService
from services.upload.files.replacing import ReplaceService
from services.upload.files.service import FileService
from services.upload.findings import routes as findings
from services.upload.findings.service import FindingReports
from services.upload.folders import routes as folders
from services.upload.folders.service import FolderService
from services.upload.images import routes as image_routes
from services.upload.images.purchases.provider import CreditAccount
from services.upload.images.purchases.service import ImagePurchases
from services.upload.images.quota import routes as image_quota_routes
from services.upload.images.quota.service import ImageQuotaService
from services.upload.images.service import ImageService
from services.upload.images.thumbnails.service import ThumbnailService
from services.upload.images.upload import ImageUploads
from services.upload.intake.acceptance import Acceptance
from services.upload.intake.intake import Intake
from services.upload.ledger import routes as ledger
from services.upload.ledger import trail_routes as trail
from services.upload.ledger.download import LedgerDownload
from services.upload.ledger.folds import LedgerFolds
from services.upload.ledger.service import ProofService
from services.upload.ledger.transactions import TransactionService
from services.upload.links import routes as links
from services.upload.links.service import LinkService
from services.upload.overview import routes as overview
from services.upload.overview.service import OverviewService
from services.upload.preflight import routes as preflight
from services.upload.preflight.plans import Plans
from services.upload.preflight.service import PreflightService
from services.upload.quota import routes as quota
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.raw import routes as raw
from services.upload.raw.service import RawService
from services.upload.reconciliation import routes as reconciliation
from services.upload.reconciliation.objects import StoreWalk
from services.upload.reconciliation.reports import ReconciliationReports
from services.upload.reconciliation.service import Reconciler
from services.upload.resumable import routes as resumable
from services.upload.resumable.wiring import Resumable
from services.upload.scans import routes as scans
from services.upload.scans.service import ScanReports
from services.upload.settings import Settings
from services.upload.shortcuts import SHORTCUTS
from services.upload.trash import routes as trash
from services.upload.trash.service import TrashService
from services.upload.versions import routes as versions
from services.upload.versions.service import VersionService
from services.upload.wiring import STREAMS, policy_of
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.dead_letters.routes import dead_letter_router
from shared.http import ServiceClient, create_app, serve
from shared.outbox import Wake
from shared.outbox.routes import outbox_router
from shared.settings import load


def create(settings: Settings, clock: Clock | None = None) -> FastAPI:
    name, clock = settings.service_name, clock or SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=name)
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    gateway = None
    if settings.gateway_url is not None:
        gateway = ServiceClient(settings.gateway_url, settings.internal_secret, issuer=name, audience="gateway")
    locations = open_locations(settings)
    entitlements = EntitlementService(database, billing)
    accounts = AccountService(database, AccountWriter(database, on_commit=Wake(database).set), entitlements)
    policy = policy_of(settings)
    acceptance = Acceptance(accounts, policy, clock)
    intake = Intake(accounts, entitlements, acceptance, locations, policy)
    reading = FileService(database, locations)
    copies = CopyService(database, reading, accounts, intake, locations, clock)
    removal = TrashService(database, reading, accounts, entitlements, clock)
    signed = LinkService(database, settings.base_url, settings.signing_secrets, clock)
    offered = open_direct(settings, database, accounts, intake, acceptance, locations, clock)
    images = ImageService(database)
    walk = StoreWalk(database, locations, settled_after=settings.reservation_seconds * 2)
    credit = CreditAccount(billing)
    image_quota = ImageQuotaService(database, entitlements, clock, gateway, credit, settings.upgrade_url)
    purchases = ImagePurchases(database, credit, policy.lifetime)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database, billing, gateway or nullcontext():
            hearing = asyncio.create_task(entitlements.news.run())
            await locations.open()
            yield
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await signed.close()
            await offered.uploads.close()
            await locations.close()

    user = [cleanup.router, overview.router, overview.internal, exports.router, erasure.router]
    app = create_app(
        settings,
        title="Stowage upload",
        routers=[
            quota.router,
            trash.router,
            files.router,
            raw.router,
            preflight.router,
            resumable.router,
            versions.router,
            folders.router,
            scans.router,
            findings.router,
            links.router,
            trail.router,
            direct.router,
            uppy.router,
            ledger.router,
            reconciliation.internal,
            reconciliation.router,
            image_quota_routes.router,  # before the images': `quota` is no image's id
            image_routes.router,
            *user,
            outbox_router(database, STREAMS),
            dead_letter_router(name, database),
        ],
        lifespan=lifespan,
        shortcuts=SHORTCUTS,
        checks={"database": database.ping, "store": locations.check},
    )
    app.state.services = UploadServices(
        accounts=accounts,
        intake=intake,
        resumable=Resumable.build(
            database,
            accounts,
            intake,
            locations,
            clock,
            base_url=settings.base_url,
            lifetime=timedelta(seconds=settings.resumable_seconds),
        ),
        files=reading,
        moving=MoveService(reading, copies, accounts, policy.tree),
        copies=copies,
        replacing=ReplaceService(reading, intake, copies),
        trash=removal,
        folders=FolderService(database, accounts, removal),
        versions=VersionService(database, accounts, entitlements),
        links=signed,
        transactions=TransactionService(database),
        download=LedgerDownload(database),
        direct=offered,
        proof=ProofService(database, locations),
        folds=LedgerFolds(database),
        cleanup=CleanupService(database, accounts),
        overview=OverviewService(database, accounts),
        erasure=ErasureService(database, accounts, settings.signing_secrets),
        exports=ExportService(database, accounts, locations),
        raw=RawService(database, intake),
        scans=ScanReports(database),
        findings=FindingReports(database),
        reconciler=Reconciler(database, walk, clock, on_commit=Wake(database).set),
        reconciliations=ReconciliationReports(database),
        preflight=PreflightService(accounts, intake, image_quota, Plans(billing)),
        images=images,
        image_quota=image_quota,
        image_uploads=ImageUploads(intake, image_quota, purchases),
        thumbnails=ThumbnailService(database, locations, images, settings.image_max_pixels),
        idle_seconds=settings.idle_seconds,
    )
    return app


if __name__ == "__main__":
    serve(create, load(Settings))
