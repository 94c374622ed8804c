"""What a route may ask for, built once in `main.py`."""

from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request

from services.billing.ads.service import AdService
from services.billing.catalogue.loader import Catalogue
from services.billing.credits.balance import CreditBalance
from services.billing.credits.catalogue import CreditCatalogue
from services.billing.credits.history import CreditHistory
from services.billing.credits.service import CreditService
from services.billing.credits.traffic import TrafficSale
from services.billing.details.service import DetailsService
from services.billing.errors import NotTheManager
from services.billing.invoices.archive import InvoiceArchive
from services.billing.invoices.service import InvoiceService
from services.billing.metrics.service import MetricsService
from services.billing.payments.callbacks import CallbackIntake
from services.billing.payments.given_up import GivenUp
from services.billing.payments.history import PaymentHistory
from services.billing.payments.refunds import RefundService
from services.billing.payments.service import PaymentService
from services.billing.plans.service import PlanService
from services.billing.subscriptions.above import AboveService
from services.billing.subscriptions.changes import ChangeService
from services.billing.subscriptions.service import SubscriptionService
from services.billing.subscriptions.trials import TrialService
from shared.http import CurrentTenant


@dataclass(frozen=True, slots=True)
class BillingServices:
    catalogue: Catalogue
    subscriptions: SubscriptionService
    changes: ChangeService
    above: AboveService
    trials: TrialService
    payments: PaymentService
    callbacks: CallbackIntake
    plans: PlanService
    invoices: InvoiceService
    archive: InvoiceArchive
    details: DetailsService
    credit_catalogue: CreditCatalogue
    credits: CreditService
    credit_balance: CreditBalance
    credit_history: CreditHistory
    traffic: TrafficSale
    ads: AdService
    given_up: GivenUp
    history: PaymentHistory
    refunds: RefundService
    metrics: MetricsService


async def services_of(request: Request) -> BillingServices:
    return cast("BillingServices", request.app.state.services)


async def _tenant(principal: CurrentTenant) -> UUID:
    return cast("UUID", principal.tenant_id)  # CurrentTenant has refused everybody without one


async def _managed(principal: CurrentTenant) -> UUID:
    if not principal.manages:
        raise NotTheManager
    return cast("UUID", principal.tenant_id)


Services = Annotated[BillingServices, Depends(services_of)]
Tenant = Annotated[UUID, Depends(_tenant)]
ManagedTenant = Annotated[UUID, Depends(_managed)]  # of somebody who may pay for it
