"""The HTTP process: `python -m services.upload.main`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from services.upload.blobs.open import open_locations
from services.upload.cleanup import routes as cleanup
from services.upload.cleanup.service import CleanupService
from services.upload.dependencies import UploadServices
from services.upload.entitlements.service import EntitlementService
from services.upload.erasure import routes as erasure
from services.upload.erasure.service import ErasureService
from services.upload.exports import routes as exports
from services.upload.exports.service import ExportService
from services.upload.files import routes as files
from services.upload.files.service import FileService
from services.upload.intake.acceptance import Acceptance
from services.upload.intake.intake import Intake
from services.upload.intake.policy import Policy
from services.upload.ledger import routes as ledger
from services.upload.ledger.service import ProofService
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
from services.upload.resumable import routes as resumable
from services.upload.resumable.wiring import Resumable
from services.upload.settings import Settings
from services.upload.wiring import FILES, load_categories
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient, create_app, serve
from shared.outbox import Wake
from shared.outbox.routes import outbox_router
from shared.settings import load


def create(settings: Settings) -> FastAPI:
    name, clock = settings.service_name, SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=name)
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    locations = open_locations(settings)
    entitlements = EntitlementService(database, billing)
    accounts = AccountService(database, AccountWriter(database, on_commit=Wake(database).set), entitlements)
    policy = Policy(
        tree=load_categories(),
        allowed=settings.allowed,
        max_file_size=settings.max_file_size,
        max_resumable_size=settings.max_resumable_size,
        lifetime=timedelta(seconds=settings.reservation_seconds),
        upgrade_url=settings.upgrade_url,
    )

    acceptance = Acceptance(accounts, policy, clock)
    intake = Intake(accounts, entitlements, acceptance, locations, policy)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database, billing:
            await locations.open()
            yield
            await locations.close()

    user = [cleanup.router, overview.router, exports.router, erasure.router]
    app = create_app(
        settings,
        title="Stowage upload",
        routers=[
            quota.router,
            files.router,
            raw.router,
            preflight.router,
            resumable.router,
            links.router,
            ledger.router,
            *user,
            outbox_router(database, [FILES]),
        ],
        lifespan=lifespan,
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
        files=FileService(database, accounts, locations),
        links=LinkService(settings.base_url, settings.signing_secrets, clock),
        proof=ProofService(database, locations),
        cleanup=CleanupService(database, accounts),
        overview=OverviewService(database, accounts),
        erasure=ErasureService(database, accounts, settings.signing_secrets),
        exports=ExportService(database, accounts, locations),
        raw=RawService(database, intake),
        preflight=PreflightService(accounts, intake, Plans(billing)),
        idle_seconds=settings.idle_seconds,
    )
    return app


if __name__ == "__main__":
    serve(create, load(Settings))
