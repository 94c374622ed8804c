"""The HTTP process: `python -m services.usage.main`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.usage.counters import routes as counters
from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.dependencies import UsageServices
from services.usage.entitlements.provider import Billing
from services.usage.entitlements.service import EntitlementService
from services.usage.live import routes as live
from services.usage.live.service import Changes, LiveUsage
from services.usage.management import routes as management
from services.usage.management.calculation import CHANNEL as CALCULATION
from services.usage.management.reader import ManagementReader
from services.usage.proof import routes as proof
from services.usage.proof.provider import UploadLedger
from services.usage.proof.service import ProofService
from services.usage.schemas.provisioner import CHANNEL as TENANT
from services.usage.settings import Settings
from services.usage.tenants import routes as tenants
from services.usage.tenants.service import IsolationService
from services.usage.thresholds import routes as thresholds
from services.usage.thresholds.alerts import AlertReader
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient, create_app, serve
from shared.outbox import Stream, Wake
from shared.outbox.routes import outbox_router
from shared.settings import load


def create(settings: Settings) -> FastAPI:
    name = settings.service_name
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=name)
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    service = CounterService(ThresholdService(), SystemClock())
    entitlements = EntitlementService(database, Billing(billing), service, Wake(database).set)
    reader = CounterReader(database, entitlements)
    changes = Changes(settings.database_url)
    waiting = LiveUsage(reader, changes)
    old = Wake(database, CALCULATION)
    management_reader = ManagementReader(database, SystemClock(), lambda tenant: old.set(str(tenant)))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database, upload, billing:
            listening = asyncio.create_task(changes.run())
            yield
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    app = create_app(
        settings,
        title="Stowage usage",
        routers=[
            counters.router,
            thresholds.router,
            proof.router,
            live.router,
            management.router,
            tenants.router,
            outbox_router(database, [Stream("alerts.v1")]),
        ],
        lifespan=lifespan,
        checks={"database": database.ping},
    )
    app.state.services = UsageServices(
        reader,
        AlertReader(database),
        waiting,
        ProofService(reader, waiting, UploadLedger(upload)),
        management_reader,
        IsolationService(database, management_reader, Wake(database, TENANT).set),
    )
    return app


if __name__ == "__main__":
    serve(create, load(Settings))
