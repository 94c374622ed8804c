"""The consumer, the relay of alerts, provisioning, and what is done by the clock: `python -m services.usage.worker`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.usage.counters.handlers import UsageHandler
from services.usage.counters.service import CounterService
from services.usage.disk.collection import DiskCollection
from services.usage.disk.engine import DockerEngine
from services.usage.disk.rules import Labels
from services.usage.dispatch import Dispatch
from services.usage.history.partitions import HistoryKeeper
from services.usage.live.service import CHANNEL
from services.usage.management.calculation import Calculator
from services.usage.management.handlers import CleanupHandler
from services.usage.management.schedule import CalculationSchedule
from services.usage.rebuild.filling import Filling
from services.usage.rebuild.nightly import NightlyComparison
from services.usage.rebuild.provider import UploadFolds
from services.usage.rebuild.service import Rebuilder
from services.usage.schemas.provisioner import CHANNEL as TENANT
from services.usage.schemas.provisioner import Provisioner
from services.usage.settings import Settings
from services.usage.tenants.erasure import Eraser
from services.usage.tenants.handlers import IsolationHandler, TenantHandler
from services.usage.thresholds.service import ThresholdService
from services.usage.thresholds.sweep import Sweep
from services.usage.traffic.service import TrafficService
from services.usage.trends.totals import DailyTotals
from shared.clock import SystemClock
from shared.db import Database
from shared.dead_letters.replayer import Replayer
from shared.http import ServiceClient
from shared.kafka import EventConsumer, Topic
from shared.kafka.gaps import http_gaps
from shared.outbox import Relay, Stream, Wake
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker

TOPICS = {
    "files.v1": Topic(),
    "traffic.v1": Topic(),
    "entitlements.v1": Topic(compacted=True),
    "tenants.v1": Topic(compacted=True),
    "billing.v1": Topic(),
}


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    name, clock = settings.service_name, SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=f"{name}-worker")
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    gateway = ServiceClient(settings.gateway_url, settings.internal_secret, issuer=name, audience="gateway")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    slack, retention = settings.threshold_slack, settings.retention
    counters = CounterService(ThresholdService(), clock, slack=slack, retention=retention)
    changed, outbox, tenants = Wake(database, CHANNEL), Wake(database), Wake(database, TENANT)

    def dispatch() -> Dispatch:
        return Dispatch(
            [
                (frozenset({"tenants.v1"}), TenantHandler(settings.tenant_isolation, tenants.set)),
                (frozenset({"entitlements.v1"}), IsolationHandler(settings.tenant_isolation, tenants.set)),
                (
                    frozenset({"files.v1", "entitlements.v1", "traffic.v1", "tenants.v1", "billing.v1"}),
                    UsageHandler(counters, clock, changed=lambda t: changed.set(str(t)), announced=outbox.set),
                ),
                (frozenset({"files.v1"}), CleanupHandler()),
                (frozenset({"traffic.v1"}), TrafficService(clock)),
            ]
        )

    # One each: what a batch under way has changed is told when it is committed, not when a replay is.
    handler, replays = dispatch(), dispatch()
    consumer = EventConsumer(
        group=name,
        topics=TOPICS,
        database=database,
        bootstrap=settings.kafka_bootstrap,
        apply=handler.apply,
        fetch=http_gaps({"files.v1": upload, "traffic.v1": gateway, "billing.v1": billing}),
        on_committed=handler.on_committed,
    )
    replayer = Replayer(database, name, replays.replay, on_committed=replays.on_replayed)
    relay = Relay(database, [Stream("alerts.v1")], bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}")
    sweep = Sweep(database, counters, clock)
    engine = DockerEngine(settings.docker_url) if settings.docker_url else None
    labels = Labels(settings.docker_tenant_label, settings.docker_project_label)
    disk = DiskCollection(database, engine, labels, counters, clock)
    rebuilder = Rebuilder(
        database,
        UploadFolds(upload),
        counters,
        clock,
        changed=lambda tenant: changed.set(str(tenant)),
        announced=outbox.set,
    )
    calculator = Calculator(database, rebuilder, clock)
    nightly = NightlyComparison(database, rebuilder, clock, settings.comparison_hour, repair=settings.comparison_repair)
    schedule = CalculationSchedule(database, calculator, clock, settings.calculation_hour)
    keeper, totals = HistoryKeeper(database, retention, clock), DailyTotals(database, clock)
    async with database, upload, gateway, billing:
        yield WorkerParts(
            tasks=[consumer.run, relay.run, replayer.run, Provisioner(database).run, calculator.run],
            jobs=[
                Job("sweep", 60, sweep.run_when_due),
                Job("erasure", 3600, Eraser(database).run),
                Job("calculation", 60, schedule.run_when_due),
                Job("filling", 60, Filling(database, rebuilder).run_when_due),
                Job("nightly comparison", 60, nightly.run_when_due),
                Job("drift metrics", 60, nightly.measure),
                Job("disk", 5, disk.run_when_due),
                Job("disk metrics", 60, disk.measure),
                Job("history", 3600, keeper.run),
                Job("totals", 600, totals.run_when_due),
            ],
            checks={"database": database.ping, "consumer": consumer.check},
        )


if __name__ == "__main__":
    run_worker(load(Settings), build)
