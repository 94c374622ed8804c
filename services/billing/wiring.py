"""What both processes of `billing` are built from."""

from dataclasses import dataclass

from services.billing.catalogue.loader import Catalogue, load
from services.billing.payments.provider import ExternalBackend
from services.billing.payments.service import PaymentService
from services.billing.plans import repository as plans
from services.billing.settings import Settings
from services.billing.subscriptions.service import SubscriptionService
from shared.clock import SystemClock
from shared.db import Database
from shared.outbox import Stream, Wake

STREAMS = [Stream("entitlements.v1"), Stream("billing.v1")]
CALLBACKS = "billing_callbacks"


@dataclass(frozen=True, slots=True)
class Core:
    database: Database
    catalogue: Catalogue
    clock: SystemClock
    provider: ExternalBackend
    subscriptions: SubscriptionService
    payments: PaymentService
    wake: Wake


def build_core(settings: Settings, application_name: str) -> Core:
    """Raises CatalogueError."""
    catalogue, clock = load(), SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=application_name)
    provider = ExternalBackend(settings.payment_backend_url, settings.payment_api_key, settings.provider_seconds)
    wake = Wake(database)
    subscriptions = SubscriptionService(database, catalogue, clock, wake.set)
    payments = PaymentService(
        database,
        catalogue,
        subscriptions,
        provider,
        clock,
        callback_url=f"{settings.base_url.rstrip('/')}/api/payments/callback",
        first_check=settings.janitor_seconds,
        wake=wake.set,
    )
    return Core(database, catalogue, clock, provider, subscriptions, payments, wake)


async def register_catalogue(core: Core) -> None:
    async with core.database.transaction() as connection:
        await plans.register(connection, core.catalogue)
