"""Everything the worker does by itself, built once; also for one job asked for at the command line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from services.upload.blobs.garbage import Garbage
from services.upload.blobs.locations import Locations
from services.upload.blobs.open import open_locations
from services.upload.direct.cleanup import DirectCleanup
from services.upload.direct.open import direct_cleanup
from services.upload.entitlements.service import EntitlementService
from services.upload.erasure.erasing import Eraser
from services.upload.exports.making import ExportMaker
from services.upload.files.service import FileService
from services.upload.findings.missing import Missing
from services.upload.findings.orphans import Orphans
from services.upload.images.analysis.embedder import open_embedder
from services.upload.images.analysis.service import ImageAnalysis
from services.upload.images.purchases.provider import CreditAccount
from services.upload.images.purchases.service import ImagePurchases
from services.upload.jobs.registry import Job, Registry
from services.upload.links.service import forget_links
from services.upload.quota.expiry import Expiry
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.reconciliation.nightly import Nightly
from services.upload.reconciliation.objects import StoreWalk
from services.upload.reconciliation.service import Reconciler
from services.upload.resumable.expiry import ResumableExpiry
from services.upload.scans.open import open_scans
from services.upload.settings import Settings
from services.upload.tasks.runner import Handler
from services.upload.trash.service import TrashService
from services.upload.versions.service import VersionService
from shared.clock import SystemClock
from shared.db import Database
from shared.http import ServiceClient
from shared.outbox import Wake


@dataclass(frozen=True, slots=True)
class Upkeep:
    database: Database
    locations: Locations
    entitlements: EntitlementService
    accounts: AccountService
    jobs: Registry
    nightly: Nightly
    handlers: Mapping[str, Handler]  # what is done with a file after it is stored


@asynccontextmanager
async def open_upkeep(settings: Settings) -> AsyncIterator[Upkeep]:
    """With the worker's role, which sees every tenant."""
    name = settings.service_name
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=f"{name}-worker")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    entitlements = EntitlementService(database, billing)
    accounts = AccountService(database, AccountWriter(database, on_commit=Wake(database).set), entitlements)
    locations = open_locations(settings)
    trash = TrashService(database, FileService(database, locations), accounts, entitlements, SystemClock())
    versions = VersionService(database, accounts, entitlements)
    purchases = ImagePurchases(database, CreditAccount(billing), timedelta(seconds=settings.reservation_seconds))
    direct_cleaning = direct_cleanup(settings, database, accounts, entitlements, locations)
    async with AsyncExitStack() as stack, database, billing, direct_cleaning as direct:
        stack.push_async_callback(locations.close)
        await locations.open()
        others = [
            Job("trash", 60, partial(_counted, trash.purge_due), "deletes what has been in the trash for its time"),
            Job("versions", 3600, partial(_counted, versions.trim), "removes versions above the setting"),
            Job(
                "links", 3600, partial(_counted, partial(forget_links, database)), "forgets links that expired long ago"
            ),
            Job("purchases", 5, partial(_counted, purchases.work_off), "tells billing what became of images bought"),
            Job("direct-collect", 1, partial(_counted, direct.collect), "completes uploads whose client says nothing"),
            Job("direct-expired", 10, partial(_counted, direct.remove_expired), "removes direct uploads that expired"),
            Job("direct-orphans", 600, partial(_counted, direct.sweep), "removes staged bytes no upload knows"),
        ]
        images = ImageAnalysis(database, locations, open_embedder(settings.image_model), settings.image_max_pixels)
        handlers: dict[str, Handler] = {"image": images.analyse}
        scans = open_scans(settings, database, accounts, locations)
        if scans is not None:
            handlers["scan"] = scans.scan
            others.append(Job("scans", 60, partial(_counted, scans.resume), "scans again what was put off"))
        clock = SystemClock()
        walk = StoreWalk(database, locations, settled_after=settings.reservation_seconds * 2)
        reconciler = Reconciler(database, walk, clock, on_commit=Wake(database).set)
        hour, repair = settings.reconciliation_hour, settings.reconciliation_repair
        nightly = Nightly(database, reconciler, clock, hour=hour, repair=repair)
        about = "compares ledger, accounts, files and objects of tenants that moved, by night"
        others.append(Job("reconciliation", 600, nightly.run, about, turn=nightly.turn))
        jobs = Registry(database, [*_jobs(settings, database, locations, accounts, direct), *others])
        yield Upkeep(database, locations, entitlements, accounts, jobs, nightly, handlers)


async def _counted(work: Callable[[], Awaitable[int | None]]) -> dict[str, int] | None:
    done = await work()
    return {"done": done} if done else None


def _jobs(
    settings: Settings, database: Database, locations: Locations, accounts: AccountService, direct: DirectCleanup
) -> list[Job]:
    orphans = Orphans(
        database, locations, settled_after=settings.reservation_seconds * 2, grace=settings.orphan_seconds
    )
    uploads = ResumableExpiry(database, locations)
    eraser = Eraser(database, locations, accounts, uploads, direct, settings.signing_secrets[0], SystemClock())
    return [
        Job("garbage", 1, Garbage(database, locations).run, "removes the bytes of deleted files"),
        Job("reservations", 5, Expiry(database).run, "gives back space held for uploads that died"),
        Job("uploads", 5, uploads.run, "removes uploads in pieces nobody went on with"),
        Job("orphans", 600, orphans.run, "drops abandoned uploads; notes objects without a file, later removes them"),
        Job("exports", 2, ExportMaker(database, locations).run, "makes exports, takes them away after 7 days"),
        Job("erasures", 10, eraser.run, "erases tenants and certifies it"),
        Job("missing", 3600, Missing(database, locations).run, "looks for files whose object is gone"),
    ]
