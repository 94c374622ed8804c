"""What both processes of `billing` are built from."""

import asyncio
import os
import sys
from dataclasses import dataclass

from services.billing.catalogue.loader import Catalogue, CatalogueError, find_family, load
from services.billing.payments.envelopes import Envelope, StandardWebhooks, StripeWebhooks
from services.billing.payments.external import ExternalBackend
from services.billing.payments.fulfilment import Fulfilment, NoCredit, PlanFulfilment
from services.billing.payments.provider import Provider, Providers
from services.billing.payments.refunds import RefundService
from services.billing.payments.service import PaymentService
from services.billing.payments.settlement import Settlement
from services.billing.plans import repository as plans
from services.billing.settings import Settings
from services.billing.subscriptions.service import SubscriptionService
from shared.clock import SystemClock
from shared.db import Database
from shared.events import PaymentPurpose
from shared.outbox import Stream, Wake

STREAMS = [Stream("entitlements.v1"), Stream("billing.v1")]
CALLBACKS = "billing_callbacks"


@dataclass(frozen=True, slots=True)
class Core:
    database: Database
    catalogue: Catalogue
    clock: SystemClock
    providers: Providers
    envelopes: dict[str, Envelope]
    subscriptions: SubscriptionService
    settlement: Settlement
    payments: PaymentService
    refunds: RefundService
    wake: Wake


def build_core(settings: Settings, application_name: str) -> Core:
    """Raises CatalogueError."""
    catalogue, clock = load(find_family(settings.plan_catalogue)), SystemClock()
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=application_name)
    providers = build_providers(settings)
    wake = Wake(database)
    subscriptions = SubscriptionService(database, catalogue, clock, wake.set)
    fulfilments: dict[PaymentPurpose, Fulfilment] = {"plan": PlanFulfilment(subscriptions)}
    settlement = Settlement(fulfilments, NoCredit(), clock)
    payments = PaymentService(
        database,
        catalogue,
        subscriptions,
        settlement,
        providers,
        fulfilments,
        clock,
        callback_url=f"{settings.base_url.rstrip('/')}/api/payments/callback",
        first_check=settings.janitor_seconds,
        wake=wake.set,
    )
    refunds = RefundService(database, providers, clock, first=settings.janitor_seconds, wake=wake.set)
    envelopes = build_envelopes(settings)
    return Core(database, catalogue, clock, providers, envelopes, subscriptions, settlement, payments, refunds, wake)


def build_providers(settings: Settings) -> Providers:
    seconds = settings.provider_seconds
    built: list[Provider] = [ExternalBackend(settings.payment_backend_url, settings.payment_api_key, seconds)]
    if settings.stripe_api_key:
        # Half a second to import: only for those who use it.
        from services.billing.payments.stripe_backend import StripeBackend

        built.append(StripeBackend(settings.stripe_api_key, settings.stripe_api_base, seconds))
    return Providers(built)


def build_envelopes(settings: Settings) -> dict[str, Envelope]:
    envelopes: dict[str, Envelope] = {"external": StandardWebhooks(settings.signing_secrets)}
    if settings.stripe_secrets:
        envelopes["stripe"] = StripeWebhooks(settings.stripe_secrets)
    return envelopes


async def register_catalogue(core: Core) -> None:
    """Raises CatalogueError when a version that was sold says something else now."""
    async with core.database.transaction() as connection:
        await plans.register(connection, core.catalogue)


def check_catalogue(settings: Settings) -> None:
    """Before anything starts: ends the process with one line when the plans are not in order."""
    try:
        asyncio.run(_register(settings))
    except CatalogueError as error:
        print(f"billing: {error}", file=sys.stderr, flush=True)  # noqa: T201
        raise SystemExit(os.EX_CONFIG) from None


async def _register(settings: Settings) -> None:
    core = build_core(settings, "billing-catalogue")
    async with core.database:
        await register_catalogue(core)
