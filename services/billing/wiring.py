"""What both processes of `billing` are built from."""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import timedelta

from services.billing.ads.service import AdService
from services.billing.ads.verification import Verifier
from services.billing.catalogue.loader import Catalogue, CatalogueError, find_family, load
from services.billing.credits import packs
from services.billing.credits.catalogue import CreditCatalogue, find_credits, load_credits
from services.billing.credits.packs import LateMoney, PackFulfilment
from services.billing.credits.service import CreditService
from services.billing.invoices import tax
from services.billing.invoices.bill import PaymentBills
from services.billing.invoices.paying import InvoiceFulfilment
from services.billing.invoices.service import InvoiceService
from services.billing.invoices.tax import TaxRulesError
from services.billing.payments.envelopes import Envelope, StandardWebhooks, StripeWebhooks
from services.billing.payments.external import ExternalBackend
from services.billing.payments.fulfilment import Fulfilment
from services.billing.payments.provider import Provider, Providers
from services.billing.payments.refunds import RefundService
from services.billing.payments.service import PaymentService
from services.billing.payments.settlement import Settlement
from services.billing.plans import repository as plans
from services.billing.settings import Settings
from services.billing.subscriptions.changes import ChangeService
from services.billing.subscriptions.fulfilment import PlanFulfilment
from services.billing.subscriptions.renewals import Renewals
from services.billing.subscriptions.rest import Rest
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
    changes: ChangeService
    renewals: Renewals
    settlement: Settlement
    payments: PaymentService
    refunds: RefundService
    wake: Wake
    invoices: InvoiceService
    credit_catalogue: CreditCatalogue
    credits: CreditService
    ads: AdService


def build_core(settings: Settings, application_name: str) -> Core:
    """Raises CatalogueError, TaxRulesError."""
    family, currency, clock = find_family(settings.plan_catalogue), settings.currency, SystemClock()
    catalogue, credit_catalogue = load(family, currency), load_credits(find_credits(family), currency)
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name=application_name)
    providers = build_providers(settings)
    wake = Wake(database)
    subscriptions = SubscriptionService(database, catalogue, clock, wake.set)
    keys, packs_bought = settings.ad_verification_keys, PackFulfilment(clock)
    due = timedelta(days=settings.invoice_due_days)
    invoices = InvoiceService(database, tax.load(), settings.invoice_seller, settings.invoice_number, due, clock)
    late = LateMoney(credit_catalogue, packs_bought, clock)
    fulfilments: dict[PaymentPurpose, Fulfilment] = {
        "plan": PlanFulfilment(subscriptions),
        "credits": packs_bought,
        "invoice": InvoiceFulfilment(invoices),
    }
    bills = PaymentBills(invoices, fulfilments)
    settlement = Settlement(fulfilments, late, clock, bills)
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
    return Core(
        database=database,
        catalogue=catalogue,
        clock=clock,
        providers=providers,
        envelopes=build_envelopes(settings),
        subscriptions=subscriptions,
        changes=ChangeService(database, catalogue, subscriptions, Rest(late, bills), clock, wake.set),
        renewals=Renewals(database, catalogue, subscriptions, invoices, clock, wake.set),
        settlement=settlement,
        payments=payments,
        refunds=RefundService(
            database, providers, packs_bought, bills, clock, first=settings.janitor_seconds, wake=wake.set
        ),
        wake=wake,
        invoices=invoices,
        credit_catalogue=credit_catalogue,
        credits=CreditService(database, credit_catalogue, clock, wake.set),
        ads=AdService(database, credit_catalogue.ads, Verifier(keys) if keys else None, clock, wake.set),
    )


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
        await packs.register(connection, core.credit_catalogue)


def check_catalogue(settings: Settings) -> None:
    """Before anything starts: ends the process with one line when the plans are not in order."""
    try:
        asyncio.run(_register(settings))
    except (CatalogueError, TaxRulesError) as error:
        print(f"billing: {error}", file=sys.stderr, flush=True)  # noqa: T201
        raise SystemExit(os.EX_CONFIG) from None


async def _register(settings: Settings) -> None:
    core = build_core(settings, "billing-catalogue")
    async with core.database:
        await register_catalogue(core)
