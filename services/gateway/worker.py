"""The gateway's worker: publishes its events, turns alerts, payments and exports into notifications, sends mail."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from services.gateway.accounts.administrator import ensure_administrator
from services.gateway.accounts.passwords import Passwords
from services.gateway.entitlements.handlers import EntitlementHandler
from services.gateway.events.hub import CHANNEL
from services.gateway.identity.passes import ISSUER
from services.gateway.main import STREAMS, stop_links
from services.gateway.notifications.handlers import NotificationHandlers
from services.gateway.notifications.mails import Postman
from services.gateway.sessions.repository import SessionRepository
from services.gateway.settings import Settings
from shared.clock import SystemClock
from shared.db import Database
from shared.dead_letters.replayer import Replayer
from shared.http import ServiceClient
from shared.kafka import EventConsumer, Record, Topic
from shared.kafka.gaps import http_gaps
from shared.outbox import Relay, Wake
from shared.outbox.routes import outbox_router
from shared.settings import load
from shared.worker import Job, WorkerParts, run_worker


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[WorkerParts]:
    clock = SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name="gateway-worker")
    usage = ServiceClient(settings.usage_url, settings.internal_secret, issuer=ISSUER, audience="usage")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=ISSUER, audience="billing")
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=ISSUER, audience="upload")
    async with database, usage, billing, upload:
        await ensure_administrator(database, Passwords(), clock, settings.admin_email, settings.admin_password)
        wake = Wake(database, CHANNEL)

        def tell(records: Sequence[Record]) -> None:
            for tenant in {record.tenant_id for record in records}:
                wake.set(str(tenant))

        notices = NotificationHandlers(settings.base_url, stop_links(settings))
        entitlements = EntitlementHandler(clock)

        async def apply(connection: Any, records: Sequence[Record]) -> None:
            await notices.apply(connection, records)
            await entitlements.apply(connection, records)

        consumer = EventConsumer(
            group="gateway",
            topics={
                "alerts.v1": Topic(),
                "billing.v1": Topic(),
                "exports.v1": Topic(),
                "entitlements.v1": Topic(compacted=True),
            },
            database=database,
            bootstrap=settings.kafka_bootstrap,
            apply=apply,
            fetch=http_gaps({"alerts.v1": usage, "billing.v1": billing, "exports.v1": upload}),
            on_committed=tell,
        )
        # The event's id is the notification's, and plans have versions: each counts once, whenever it comes.
        replayer = Replayer(database, "gateway", apply, on_committed=tell)
        relay = Relay(database, STREAMS, bootstrap=settings.kafka_bootstrap, source="/stowage/gateway")
        postman = Postman(database, settings.smtp_url, settings.mail_from, clock)

        async def forget_sessions() -> None:
            async with database.transaction() as connection:
                await SessionRepository(connection).delete_expired(clock.now())

        yield WorkerParts(
            tasks=[relay.run, consumer.run, replayer.run],
            jobs=[Job("mail", 1.0, postman.send_due), Job("sessions", 3600.0, forget_sessions)],
            checks={"database": database.ping, "consumer": consumer.check},
            routers=[outbox_router(database, STREAMS)],
        )


if __name__ == "__main__":
    run_worker(load(Settings), build)
