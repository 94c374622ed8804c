"""Callbacks worked off, open payments asked about, events published: `python -m services.billing.worker`."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.billing.credits.handlers import ZoneHandler
from services.billing.details.handlers import keep_cards
from services.billing.metrics.gauges import MetricGauges
from services.billing.metrics.service import MetricsService
from services.billing.payments import inbox
from services.billing.payments.janitor import Janitor
from services.billing.payments.processing import CallbackWorker
from services.billing.settings import Settings
from services.billing.subscriptions.handlers import TenantHandler
from services.billing.wiring import CALLBACKS, STREAMS, Core, build_core, check_catalogue, register_catalogue
from shared.dead_letters.replayer import Replayer
from shared.http.idempotency import sweep
from shared.kafka import EventConsumer, Record, Topic
from shared.kafka.sequence import last_seq
from shared.outbox import Listener, Relay
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks, should a notice be lost


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    core = build_core(settings, "billing-worker")
    callbacks = CallbackWorker(core.database, core.settlement, core.envelopes, core.clock, core.wake.set)
    janitor = Janitor(
        core.database,
        core.payments,
        core.settlement,
        core.providers,
        core.clock,
        first=settings.janitor_seconds,
        wake=core.wake.set,
    )
    relay = Relay(core.database, STREAMS, bootstrap=settings.kafka_bootstrap, source="/stowage/billing")
    tenants, zones = TenantHandler(core.subscriptions), ZoneHandler()

    async def apply(connection: Any, records: Sequence[Record]) -> None:
        await tenants.apply(connection, records)
        await zones.apply(connection, records)
        await keep_cards(connection, records)

    async def replay(connection: Any, records: Sequence[Record]) -> None:
        # A team is given its plan once, however late it is heard of.
        await tenants.apply(connection, records)
        await zones.replay(connection, records)
        newest = [r for r in records if r.seq >= await last_seq(connection, r.topic, r.tenant_id)]
        await keep_cards(connection, newest)

    consumer = EventConsumer(
        group="billing",
        topics={"tenants.v1": Topic(compacted=True)},
        database=core.database,
        bootstrap=settings.kafka_bootstrap,
        apply=apply,
        on_committed=lambda _records: core.wake.set(),
    )
    replayer = Replayer(core.database, "billing", replay, on_committed=lambda _records: core.wake.set())

    gauges = MetricGauges(MetricsService(core.database, core.clock))

    async def forget_forgeries() -> None:
        async with core.database.transaction() as connection:
            await inbox.sweep(connection, core.clock.now())

    async with core.database:
        await register_catalogue(core)
        try:
            yield WorkerParts(
                tasks=[relay.run, consumer.run, replayer.run, lambda: work_off(core, callbacks)],
                jobs=[
                    Job("janitor", min(1.0, settings.janitor_seconds), janitor.run),
                    Job("refunds", min(1.0, settings.janitor_seconds), core.refunds.run),
                    Job("callbacks", 15, callbacks.measure),
                    Job("forget", 3600, lambda: sweep(core.database)),
                    Job("forgeries", 60, forget_forgeries),
                    Job("credits", 10, core.credits.sweep_due),
                    Job("renewals", 60, core.renewals.run),
                    Job("metrics", 300, gauges.measure),
                ],
                checks={"database": core.database.ping, "consumer": consumer.check},
            )
        finally:
            await core.providers.close()


async def work_off(core: Core, callbacks: CallbackWorker) -> None:
    """Until cancelled: at once when a callback was stored, and through a database that is away for a while."""
    async with Listener(core.database.dsn, CALLBACKS) as listener:
        while True:
            try:
                decided = await callbacks.work()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("the inbox cannot be read: %s", error)
                decided = 0
            if not decided:
                await listener.wait(POLL)


if __name__ == "__main__":
    told = load(Settings)
    check_catalogue(told)
    run_worker(told, build)
