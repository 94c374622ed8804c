"""The ledger's relay, news of plans and tenants, tasks of files, and the jobs: `python -m services.upload.worker`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.upload.entitlements.handlers import on_entitlements
from services.upload.settings import Settings
from services.upload.tasks.runner import TaskRunner
from services.upload.tenants.handlers import on_tenants, replay_tenant
from services.upload.upkeep import open_upkeep
from services.upload.wiring import STREAMS
from shared import faults
from shared.dead_letters.replayer import Replayer
from shared.kafka import EventConsumer, Record, Topic
from shared.outbox import Relay
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    name = settings.service_name
    async with open_upkeep(settings) as upkeep:
        database = upkeep.database
        relay = Relay(
            database, STREAMS, bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}", after_send=_after_send
        )
        consumer = EventConsumer(
            group=name,
            topics={"entitlements.v1": Topic(compacted=True), "tenants.v1": Topic(compacted=True)},
            database=database,
            bootstrap=settings.kafka_bootstrap,
            apply=_apply,
        )
        replayer = Replayer(database, name, _replay)
        runner = TaskRunner(database, upkeep.handlers, concurrency=settings.task_concurrency)
        yield WorkerParts(
            tasks=[relay.run, consumer.run, replayer.run, runner.run],
            jobs=[*upkeep.jobs.periodic(), Job("tasks", 10, runner.measure), Job("drift", 60, upkeep.nightly.measure)],
            checks={"database": database.ping, "consumer": consumer.check},
        )


async def _apply(connection: Any, records: Sequence[Record]) -> None:
    await on_tenants(connection, records)
    await on_entitlements(connection, records)


async def _replay(connection: Any, records: Sequence[Record]) -> None:
    for record in records:
        await replay_tenant(connection, record)
    await on_entitlements(connection, records)  # an older version never replaces a newer one


async def _after_send() -> None:
    faults.reach("upload.sent")


if __name__ == "__main__":
    run_worker(load(Settings), build)
