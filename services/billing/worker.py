"""Callbacks worked off, open payments asked about, events published: `python -m services.billing.worker`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.billing.payments.callbacks import CallbackWorker
from services.billing.payments.service import Janitor
from services.billing.settings import Settings
from services.billing.subscriptions.handlers import TenantHandler
from services.billing.wiring import CALLBACKS, STREAMS, Core, build_core, register_catalogue
from shared.http.idempotency import sweep
from shared.kafka import EventConsumer, Topic
from shared.outbox import Listener, Relay
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    core = build_core(settings, "billing-worker")
    callbacks = CallbackWorker(core.database, core.payments, core.clock, core.wake.set)
    janitor = Janitor(core.database, core.payments, core.provider, core.clock, settings.janitor_seconds)
    relay = Relay(core.database, STREAMS, bootstrap=settings.kafka_bootstrap, source="/stowage/billing")
    consumer = EventConsumer(
        group="billing",
        topics={"tenants.v1": Topic(compacted=True)},
        database=core.database,
        bootstrap=settings.kafka_bootstrap,
        apply=TenantHandler(core.subscriptions).apply,
        on_committed=lambda _records: core.wake.set(),
    )

    async def forget_keys() -> None:
        await sweep(core.database)

    async with core.database:
        await register_catalogue(core)
        yield WorkerParts(
            tasks=[relay.run, consumer.run, lambda: _work_off(core, callbacks)],
            jobs=[Job("janitor", 1, janitor.run), Job("idempotency keys", 3600, forget_keys)],
            checks={"database": core.database.ping, "consumer": consumer.check},
        )
        await core.provider.close()


async def _work_off(core: Core, callbacks: CallbackWorker) -> None:
    async with Listener(core.database.dsn, CALLBACKS) as listener:
        while True:
            if not await callbacks.work():
                await listener.wait(1.0)


if __name__ == "__main__":
    run_worker(load(Settings), build)
