"""The HTTP process: `python -m services.billing.main`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from services.billing.ads import routes as ads
from services.billing.credits import internal_routes as internal_credits
from services.billing.credits import routes as credit_routes
from services.billing.credits.balance import CreditBalance
from services.billing.credits.history import CreditHistory
from services.billing.credits.traffic import TrafficSale
from services.billing.dependencies import BillingServices
from services.billing.details import routes as details
from services.billing.details.service import DetailsService
from services.billing.invoices import routes as invoices
from services.billing.invoices.archive import InvoiceArchive
from services.billing.invoices.printing import Printer
from services.billing.metrics import routes as metrics
from services.billing.metrics.service import MetricsService
from services.billing.payments import routes as payments
from services.billing.payments.admin import router as payments_admin
from services.billing.payments.callbacks import CallbackIntake
from services.billing.payments.given_up import GivenUp
from services.billing.payments.history import PaymentHistory
from services.billing.plans import routes as plans
from services.billing.plans import user_routes
from services.billing.plans.provider import Usage
from services.billing.plans.service import PlanService
from services.billing.settings import Settings
from services.billing.shortcuts import SHORTCUTS
from services.billing.subscriptions import limit_routes, trial_routes
from services.billing.subscriptions import routes as subscriptions
from services.billing.subscriptions.above import AboveService
from services.billing.subscriptions.trials import TrialService
from services.billing.wiring import CALLBACKS, STREAMS, build_core, check_catalogue, register_catalogue
from shared.dead_letters.routes import dead_letter_router
from shared.http import ServiceClient, create_app, serve
from shared.http.cards import CardGuard
from shared.http.idempotency import Idempotency
from shared.outbox import Wake
from shared.outbox.routes import outbox_router
from shared.settings import load


def create(settings: Settings) -> FastAPI:
    core = build_core(settings, settings.service_name)
    name = settings.service_name
    usage = Usage(ServiceClient(settings.usage_url, settings.internal_secret, issuer=name, audience="usage"))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with core.database:
            await register_catalogue(core)
            try:
                yield
            finally:
                await core.providers.close()
                await usage.close()

    app = create_app(
        settings,
        title="Stowage billing",
        routers=[
            payments.router,
            payments_admin,
            metrics.router,
            plans.router,
            user_routes.router,
            subscriptions.router,
            trial_routes.router,
            limit_routes.router,
            invoices.router,
            invoices.admin,
            details.router,
            ads.router,
            credit_routes.router,
            internal_credits.router,
            outbox_router(core.database, STREAMS),
            dead_letter_router(settings.service_name, core.database),
        ],
        lifespan=lifespan,
        checks={"database": core.database.ping},
        middleware=[Middleware(Idempotency, database=core.database)],
        shortcuts=SHORTCUTS,
        outermost=[Middleware(CardGuard, passing=payments.CALLBACKS.__contains__)],
    )
    wake = Wake(core.database, CALLBACKS).set
    intake = CallbackIntake(core.database, core.envelopes, settings.callback_sources, core.clock, wake)
    app.state.services = BillingServices(
        catalogue=core.catalogue,
        subscriptions=core.subscriptions,
        changes=core.changes,
        above=AboveService(core.database, core.catalogue, usage),
        trials=TrialService(core.database, core.catalogue, core.subscriptions, core.clock, core.wake.set),
        payments=core.payments,
        callbacks=intake,
        given_up=GivenUp(core.database, core.clock, wake),
        history=PaymentHistory(core.database),
        refunds=core.refunds,
        metrics=MetricsService(core.database, core.clock),
        plans=PlanService(core.database, core.catalogue, core.subscriptions, usage, core.clock),
        invoices=core.invoices,
        archive=InvoiceArchive(core.database, core.invoices, Printer(settings.invoice_fonts), core.clock),
        details=DetailsService(core.database, core.clock),
        credit_catalogue=core.credit_catalogue,
        credits=core.credits,
        credit_balance=CreditBalance(core.database, core.credits, core.clock),
        credit_history=CreditHistory(core.database),
        traffic=TrafficSale(core.credits, core.subscriptions),
        ads=core.ads,
    )
    app.state.base_url = settings.base_url.rstrip("/")
    return app


if __name__ == "__main__":
    told = load(Settings)
    check_catalogue(told)
    serve(create, told)
