"""The consumer, the relay of alerts, provisioning, and what is done once a day: `python -m services.usage.worker`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.usage.counters.handlers import UsageHandler
from services.usage.counters.service import CounterService
from services.usage.dispatch import Dispatch
from services.usage.live.service import CHANNEL
from services.usage.management.calculation import Calculator
from services.usage.management.handlers import CleanupHandler
from services.usage.management.schedule import CalculationSchedule
from services.usage.schemas.provisioner import CHANNEL as TENANT
from services.usage.schemas.provisioner import Provisioner
from services.usage.settings import Settings
from services.usage.tenants.handlers import TenantHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from shared.kafka import EventConsumer, Topic
from shared.kafka.gaps import http_gaps
from shared.outbox import Relay, Stream, Wake
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker

TOPICS = {"files.v1": Topic(), "entitlements.v1": Topic(compacted=True), "tenants.v1": Topic(compacted=True)}


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    name, clock = settings.service_name, SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=f"{name}-worker")
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    counters = CounterService(ThresholdService(), clock)
    changed, outbox = Wake(database, CHANNEL), Wake(database)
    usage = UsageHandler(counters, clock, changed=lambda tenant: changed.set(str(tenant)), announced=outbox.set)
    dispatch = Dispatch(
        [
            (frozenset({"tenants.v1"}), TenantHandler(settings.tenant_isolation, Wake(database, TENANT).set)),
            (frozenset({"files.v1", "entitlements.v1"}), usage),
            (frozenset({"files.v1"}), CleanupHandler()),
        ]
    )
    consumer = EventConsumer(
        group=name,
        topics=TOPICS,
        database=database,
        bootstrap=settings.kafka_bootstrap,
        apply=dispatch.apply,
        fetch=http_gaps({"files.v1": upload}),
        on_committed=dispatch.on_committed,
    )
    relay = Relay(database, [Stream("alerts.v1")], bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}")
    sweep = Sweep(database, counters, clock)
    calculator = Calculator(database, clock)
    schedule = CalculationSchedule(database, calculator, clock, settings.calculation_hour)
    async with database, upload:
        yield WorkerParts(
            tasks=[consumer.run, relay.run, Provisioner(database).run, calculator.run],
            jobs=[Job("sweep", 60, sweep.run_when_due), Job("calculation", 60, schedule.run_when_due)],
            checks={"database": database.ping, "consumer": consumer.check},
        )


if __name__ == "__main__":
    run_worker(load(Settings), build)
