"""The five of the contract (S4.5), and Stripe's callbacks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from services.billing.catalogue.plan import Interval
from services.billing.dependencies import Services, Tenant
from services.billing.errors import BodyIncomplete, BodyTooLarge, ForeignReturnUrl, NotTheManager, TeamNotFound
from services.billing.payments.callbacks import MAX_BODY
from services.billing.payments.history import Filters
from services.billing.payments.repository import Payment
from services.billing.payments.rules import return_address
from shared.events import PaymentMethod
from shared.http import (
    UNLIMITED_BODY,
    Body,
    ClientGone,
    CurrentTenant,
    Page,
    Paging,
    encode_cursor,
    problem_response,
    read_position,
)
from shared.money import Money
from shared.security import Principal

router = APIRouter(prefix="/api/payments", tags=["payments"])

# Signed by providers; a card number in one is made unreadable before it is stored.
CALLBACKS = frozenset({"/api/payments/callback", "/api/payments/stripe/webhook"})
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}


class PayIn(BaseModel):
    """`return_url` is a path or an address of this site, where the payer comes back to."""

    method: PaymentMethod
    return_url: str = Field(default="/app", max_length=512, pattern=r"^[!-~]+$")


class InitiateIn(PayIn):
    """Without `currency` it is the installation's, without `interval` by the month where the plan is sold so.
    `return_url` is a path or an address of this site, where the payer comes back to.
    """

    plan: str = Field(max_length=32)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    interval: Interval | None = None


class PaymentOut(BaseModel):
    """`amount` and `refunded` are decimal text of `currency`. `subject` is what was paid for: a plan's code, a pack's,
    an invoice's id.
    """

    payment_id: UUID
    external_payment_id: str | None
    status: str
    amount: str
    currency: str
    method: str
    plan: str | None
    purpose: str
    subject: str
    refunded: str
    created_at: datetime
    completed_at: datetime | None
    payment_url: str | None

    @classmethod
    def fields(cls, payment: Payment) -> dict[str, Any]:
        return {
            "payment_id": payment.id,
            "external_payment_id": payment.external_id,
            "status": payment.status,
            "amount": payment.money.text,
            "currency": payment.currency,
            "method": payment.method,
            "plan": payment.plan,
            "purpose": payment.purpose,
            "subject": payment.subject,
            "refunded": Money(payment.refunded, payment.currency).text,
            "created_at": payment.created_at,
            "completed_at": payment.completed_at,
            "payment_url": payment.payment_url,
        }

    @classmethod
    def of(cls, payment: Payment) -> Self:
        return cls(**cls.fields(payment))


class InitiatedOut(PaymentOut):
    """`qr_code` is a data URI of an image of `payment_url`."""

    qr_code: str | None

    @classmethod
    def of(cls, payment: Payment) -> Self:
        return cls(**cls.fields(payment), qr_code=payment.qr_code)


class CallbackOut(BaseModel):
    event_id: str
    received_at: datetime
    verdict: str
    reason: str | None


class StatusOut(PaymentOut):
    """With what the provider called back, and what was made of it."""

    callbacks: list[CallbackOut]


@router.post("/callback", status_code=202, max_body_size=UNLIMITED_BODY, response_class=JSONResponse)
async def take_callback(request: Request, services: Services) -> Response:
    """Signed by the provider over the raw body (Standard Webhooks). 202 means stored."""
    return await _take("external", request, services)


@router.post("/stripe/webhook", status_code=202, max_body_size=UNLIMITED_BODY, response_class=JSONResponse)
async def take_stripe_event(request: Request, services: Services) -> Response:
    """An event of Stripe's, signed by `Stripe-Signature` over the raw body. 404 where Stripe is not set up."""
    return await _take("stripe", request, services)


@router.post("/{team_slug}/initiate", status_code=201)
async def initiate_payment(
    team_slug: str, body: InitiateIn, request: Request, who: CurrentTenant, tenant: Tenant, services: Services
) -> InitiatedOut:
    """Starts paying for a plan; the price is the catalogue's."""
    _check_team(who, team_slug)
    if not who.manages:
        raise NotTheManager
    back = own_address(request, body.return_url)
    payment = await services.payments.initiate(
        tenant, team_slug, body.plan, body.method, back, currency=body.currency, interval=body.interval
    )
    return InitiatedOut.of(payment)


@router.get("/{team_slug}/history", response_model=Page[PaymentOut], responses=_CSV)
async def list_payments(
    team_slug: str,
    who: CurrentTenant,
    tenant: Tenant,
    services: Services,
    paging: Paging,
    filters: Annotated[Filters, Query()],
) -> Page[PaymentOut] | Response:
    """Newest first, in pages; with `format=csv` all of them in one file."""
    _check_team(who, team_slug)
    if filters.format == "csv":
        headers = {"content-disposition": 'attachment; filename="payments.csv"', "cache-control": "no-store"}
        rows = services.history.csv(tenant, filters)
        return StreamingResponse(rows, headers=headers, media_type="text/csv; charset=utf-8")
    found = await services.history.list_newest(tenant, filters, paging.limit + 1, read_position(paging.cursor))
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1].created_at.isoformat(), found[-1].id) if more else None
    return Page(items=[PaymentOut.of(payment) for payment in found], next_cursor=cursor)


@router.get("/{payment_id}/status")
async def get_status(payment_id: UUID, tenant: Tenant, services: Services) -> StatusOut:
    payment = await services.payments.get(tenant, payment_id)
    callbacks = await services.callbacks.list_for(tenant, payment.id)
    return StatusOut(**PaymentOut.fields(payment), callbacks=[CallbackOut(**callback) for callback in callbacks])


@router.post("/{payment_id}/cancel")
async def cancel_payment(payment_id: UUID, who: CurrentTenant, tenant: Tenant, services: Services) -> PaymentOut:
    if not who.manages:
        raise NotTheManager
    return PaymentOut.of(await services.payments.cancel(tenant, payment_id))


async def _take(provider: str, request: Request, services: Services) -> Response:
    headers: Mapping[str, str] = request.headers
    receipt = await services.callbacks.take(provider, await _read_small(request), headers)
    if receipt.status >= 400:
        return problem_response(receipt.status, receipt.code, receipt.detail)
    return JSONResponse({"status": receipt.code}, receipt.status)


async def _read_small(request: Request) -> bytes:
    """As it came, to the byte: it is what was signed. Raises BodyTooLarge without reading on."""
    body = bytearray()
    try:
        async for chunk in Body(request):
            body += chunk
            if len(body) > MAX_BODY:
                raise BodyTooLarge
    except ClientGone:
        raise BodyIncomplete from None
    return bytes(body)


def own_address(request: Request, wanted: str) -> str:
    """Where the payer comes back to. Raises ForeignReturnUrl."""
    try:
        return return_address(request.app.state.base_url, wanted)
    except ValueError as error:
        raise ForeignReturnUrl from error


def _check_team(who: Principal, slug: str) -> None:
    if who.tenant_slug != slug:
        raise TeamNotFound
