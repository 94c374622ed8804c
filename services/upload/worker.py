<<<<<<< HEAD
"""The ledger's relay, plans as they change, tasks of files and the clean-up: `python -m services.upload.worker`."""
=======
"""The ledger's relay, the entitlements' consumer and the jobs: `python -m services.upload.worker`."""
>>>>>>> 2c7ea69 (Jobs have names, a lock, metrics and a history; objects without a row and rows without an object are noted)

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.upload.entitlements.handlers import on_entitlements
from services.upload.settings import Settings
<<<<<<< HEAD
from services.upload.tasks.runner import Handler, TaskRunner
=======
from services.upload.upkeep import open_upkeep
>>>>>>> 2c7ea69 (Jobs have names, a lock, metrics and a history; objects without a row and rows without an object are noted)
from services.upload.wiring import FILES
from shared import faults
from shared.kafka import EventConsumer, Topic
from shared.outbox import Relay
from shared.settings import load
from shared.worker import WorkerParts, run_worker


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    name = settings.service_name
<<<<<<< HEAD
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=f"{name}-worker")
    locations = open_locations(settings)
    cleanup = Cleanup(database, locations, settings.reservation_seconds * 2)
    relay = Relay(
        database, [FILES], bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}", after_send=_after_send
    )
    consumer = EventConsumer(
        group=name,
        topics={"entitlements.v1": Topic(compacted=True)},
        database=database,
        bootstrap=settings.kafka_bootstrap,
        apply=on_entitlements,
    )
    handlers: dict[str, Handler] = {}
    runner = TaskRunner(database, handlers, concurrency=settings.task_concurrency)
    async with database:
        yield WorkerParts(
            tasks=[relay.run, consumer.run, runner.run],
            jobs=[
                Job("garbage", 1, cleanup.remove_garbage),
                Job("reservations", 5, cleanup.expire_reservations),
                Job("orphans", 600, cleanup.sweep_orphans),
                Job("tasks", 10, runner.measure),
            ],
=======
    async with open_upkeep(settings) as upkeep:
        database = upkeep.database
        relay = Relay(
            database, [FILES], bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}", after_send=_after_send
        )
        consumer = EventConsumer(
            group=name,
            topics={"entitlements.v1": Topic(compacted=True)},
            database=database,
            bootstrap=settings.kafka_bootstrap,
            apply=on_entitlements,
        )
        yield WorkerParts(
            tasks=[relay.run, consumer.run],
            jobs=upkeep.jobs.periodic(),
>>>>>>> 2c7ea69 (Jobs have names, a lock, metrics and a history; objects without a row and rows without an object are noted)
            checks={"database": database.ping, "consumer": consumer.check},
        )


async def _after_send() -> None:
    faults.reach("upload.sent")


if __name__ == "__main__":
    run_worker(load(Settings), build)
