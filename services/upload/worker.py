"""The ledger's relay, news of plans and tenants, tasks of files, the clean-up: `python -m services.upload.worker`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from services.upload.blobs.cleanup import Cleanup
from services.upload.blobs.open import open_locations
from services.upload.direct.open import direct_cleanup
from services.upload.entitlements.handlers import on_entitlements
from services.upload.entitlements.service import EntitlementService
from services.upload.files.service import FileService
from services.upload.images.analysis.embedder import open_embedder
from services.upload.images.analysis.service import ImageAnalysis
from services.upload.links.service import forget_links
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.resumable.expiry import Expiry
from services.upload.scans.open import open_scans
from services.upload.settings import Settings
from services.upload.tasks.runner import Handler, TaskRunner
from services.upload.tenants.handlers import on_tenants
from services.upload.trash.service import TrashService
from services.upload.versions.service import VersionService
from services.upload.wiring import FILES
from shared import faults
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from shared.kafka import EventConsumer, Record, Topic
from shared.outbox import Relay, Wake
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    name = settings.service_name
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=f"{name}-worker")
    locations = open_locations(settings)
    cleanup = Cleanup(database, locations, settings.reservation_seconds * 2)
    expiry = Expiry(database, locations)
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    entitlements = EntitlementService(database, billing)
    accounts = AccountService(database, AccountWriter(database, on_commit=Wake(database).set), entitlements)
    trash = TrashService(database, FileService(database, locations), accounts, entitlements, SystemClock())
    versions = VersionService(database, accounts, entitlements)
    relay = Relay(
        database, [FILES], bootstrap=settings.kafka_bootstrap, source=f"/stowage/{name}", after_send=_after_send
    )
    consumer = EventConsumer(
        group=name,
        topics={"entitlements.v1": Topic(compacted=True), "tenants.v1": Topic(compacted=True)},
        database=database,
        bootstrap=settings.kafka_bootstrap,
        apply=_apply,
    )
    embedder = open_embedder(settings.image_model)
    images = ImageAnalysis(database, locations, embedder, settings.image_max_pixels)
    scans = open_scans(settings, database, accounts, locations)
    handlers: dict[str, Handler] = {"image": images.analyse}
    if scans is not None:
        handlers["scan"] = scans.scan
    runner = TaskRunner(database, handlers, concurrency=settings.task_concurrency)
    async with database, billing, direct_cleanup(settings, database, locations) as direct:
        await locations.open()
        yield WorkerParts(
            tasks=[relay.run, consumer.run, runner.run],
            jobs=[
                Job("garbage", 1, cleanup.remove_garbage),
                Job("reservations", 5, cleanup.expire_reservations),
                Job("uploads", 5, expiry.remove_expired),
                Job("orphans", 600, cleanup.sweep_orphans),
                Job("tasks", 10, runner.measure),
                Job("trash", 60, trash.purge_due),
                Job("versions", 3600, versions.trim),
                Job("links", 3600, partial(forget_links, database)),
                Job("direct-collect", 1, direct.collect),
                Job("direct-expired", 10, direct.remove_expired),
                Job("direct-orphans", 600, direct.sweep),
                *([] if scans is None else [Job("scans", 60, scans.resume)]),
            ],
            checks={"database": database.ping, "consumer": consumer.check},
        )
        await locations.close()


async def _apply(connection: Any, records: Sequence[Record]) -> None:
    await on_tenants(connection, records)
    await on_entitlements(connection, records)


async def _after_send() -> None:
    faults.reach("upload.sent")


if __name__ == "__main__":
    run_worker(load(Settings), build)
