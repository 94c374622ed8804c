"""The HTTP process: `python -m services.usage.main`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.usage.counters import routes as counters
from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.dependencies import UsageServices
from services.usage.disk import routes as disk
from services.usage.disk.service import DiskService
from services.usage.entitlements.provider import Billing
from services.usage.entitlements.service import EntitlementService
from services.usage.forecast import routes as forecast
from services.usage.forecast.service import ForecastService
from services.usage.history import routes as history
from services.usage.history.reader import HistoryReader
from services.usage.limits import routes as limits
from services.usage.limits.service import LimitService
from services.usage.live import routes as live
from services.usage.live.service import CHANNEL, Changes, LiveUsage
from services.usage.management import routes as management
from services.usage.management.calculation import CHANNEL as CALCULATION
from services.usage.management.reader import ManagementReader
from services.usage.past import routes as past
from services.usage.past.service import PastService
from services.usage.proof import routes as proof
from services.usage.proof.provider import UploadLedger
from services.usage.proof.service import ProofService
from services.usage.rebuild import routes as rebuild
from services.usage.rebuild.provider import UploadFolds, UploadReconciler
from services.usage.rebuild.recalculation import Recalculation
from services.usage.rebuild.service import Rebuilder
from services.usage.schemas.provisioner import CHANNEL as TENANT
from services.usage.settings import Settings
from services.usage.stats import routes as stats
from services.usage.stats.provider import Neighbours
from services.usage.stats.service import StatsService
from services.usage.tenants import routes as tenants
from services.usage.tenants.service import IsolationService
from services.usage.thresholds import routes as thresholds
from services.usage.thresholds.alerts import AlertReader
from services.usage.thresholds.choice import ThresholdChoices
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic import routes as traffic
from services.usage.traffic.service import ProjectReader
from services.usage.trends import routes as trends
from services.usage.trends.reader import TrendReader
from services.usage.users import routes as users
from services.usage.users.service import UserReader
from shared.clock import SystemClock
from shared.db import Database
from shared.dead_letters.routes import dead_letter_router
from shared.http import ServiceClient, create_app, serve
from shared.outbox import Stream, Wake
from shared.outbox.routes import outbox_router
from shared.settings import load


def create(settings: Settings) -> FastAPI:
    name = settings.service_name
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=name)
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    gateway = ServiceClient(settings.gateway_url, settings.internal_secret, issuer=name, audience="gateway")
    clock = SystemClock()
    slack, retention = settings.threshold_slack, settings.retention
    service = CounterService(ThresholdService(), clock, slack=slack, retention=retention)
    wake = Wake(database).set
    entitlements = EntitlementService(database, Billing(billing), service, wake)
    reader = CounterReader(database, entitlements)
    changes = Changes(settings.database_url)
    waiting = LiveUsage(reader, changes)
    old = Wake(database, CALCULATION)
    management_reader = ManagementReader(database, SystemClock(), lambda tenant: old.set(str(tenant)))

    ledger, moved = UploadLedger(upload), Wake(database, CHANNEL)
    rebuilder = Rebuilder(
        database, UploadFolds(upload), service, clock, changed=lambda t: moved.set(str(t)), announced=wake
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database, upload, billing, gateway:
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
            traffic.router,
            users.router,
            proof.router,
            past.router,
            history.router,
            history.internal,
            forecast.router,
            trends.admin,
            limits.router,
            limits.internal,
            live.router,
            disk.router,
            disk.admin,
            management.router,
            tenants.router,
            rebuild.router,
            rebuild.admin,
            stats.router,
            outbox_router(database, [Stream("alerts.v1")]),
            dead_letter_router(name, database),
        ],
        lifespan=lifespan,
        checks={"database": database.ping},
    )
    app.state.services = UsageServices(
        reader=reader,
        alerts=AlertReader(database),
        live=waiting,
        proof=ProofService(reader, waiting, ledger),
        past=PastService(ledger, clock),
        choices=ThresholdChoices(database, service, reader, wake),
        limits=LimitService(database, reader),
        history=HistoryReader(database, retention, clock),
        forecast=ForecastService(database, reader, clock),
        trends=TrendReader(database, clock),
        disk=DiskService(database, clock),
        management=management_reader,
        isolation=IsolationService(database, management_reader, Wake(database, TENANT).set),
        projects=ProjectReader(database, clock),
        recalculation=Recalculation(database, UploadReconciler(upload), waiting, rebuilder),
        users=UserReader(database),
        stats=StatsService(waiting, Neighbours(upload, gateway)),
    )
    return app


if __name__ == "__main__":
    serve(create, load(Settings))
