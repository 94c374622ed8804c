"""For administrators of the platform: refunds, and callbacks of all providers."""

import base64
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.billing.dependencies import Services
from services.billing.details.parties import printable
from services.billing.payments.refund_rows import Refund
from shared.http import AdminOnly, Page, Paging, encode_cursor, read_position
from shared.money import Money

router = APIRouter(prefix="/api/admin", tags=["admin"])

Verdict = Literal["received", "accepted", "ignored", "rejected", "dead"]


class RefundIn(BaseModel):
    """`amount` is decimal text of the payment's currency, all that is left without it. The same `client_id` again is
    the same refund. `reason` stands on the credit note.
    """

    amount: Annotated[str, Field(max_length=32, pattern=r"^\d{1,15}(\.\d{1,3})?$")] | None = None
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(printable)
    ]
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


class RefundOut(BaseModel):
    """`pending` while nobody knows whether the provider has given it back: it is asked again. Of a pack: the credits
    that were taken back, and those that could not be, for they had been spent or had expired.
    """

    refund_id: UUID
    payment_id: UUID
    client_id: str
    amount: str
    currency: str
    reason: str
    requested_by: str
    status: Literal["pending", "completed", "failed"]
    external_refund_id: str | None
    created_at: datetime
    settled_at: datetime | None
    credits_taken: int | None
    credits_spent: int | None

    @classmethod
    def of(cls, refund: Refund) -> Self:
        return cls(
            refund_id=refund.id,
            payment_id=refund.payment_id,
            client_id=refund.client_id,
            amount=refund.money.text,
            currency=refund.currency,
            reason=refund.reason,
            requested_by=refund.requested_by,
            status=refund.status,
            external_refund_id=refund.external_id,
            created_at=refund.created_at,
            settled_at=refund.settled_at,
            credits_taken=refund.credits_taken,
            credits_spent=refund.credits_spent,
        )


class RefundsOut(BaseModel):
    items: list[RefundOut]


class OwedOut(BaseModel):
    """Money that found neither use nor credits. `due` of its `amount`, both decimal text of `currency`, is still to be
    given back, by a refund, and `reason` says why.
    """

    payment_id: UUID
    tenant_id: UUID
    team: str
    provider: str
    purpose: str
    amount: str
    due: str
    currency: str
    completed_at: datetime
    reason: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        told = dict(row)
        texts = {name: Money(told[name], told["currency"]).text for name in ("amount", "due")}
        return cls.model_validate({**told, **texts, "payment_id": told["id"]})


class StoredCallbackOut(BaseModel):
    """`dead`: tried in vain so often that somebody has to look, with the newest `error`. `redacted`: a card number in
    it was made unreadable before it was stored.
    """

    id: UUID
    provider: str
    event_id: str
    authentic: bool
    received_at: datetime
    deliveries: int
    verdict: Verdict
    reason: str | None
    payment_id: UUID | None
    attempts: int
    next_attempt_at: datetime | None
    error: str | None
    redacted: bool
    processed_at: datetime | None
    replayed_at: datetime | None
    replayed_by: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls.model_validate(dict(row))


class WholeCallbackOut(StoredCallbackOut):
    """`body` is decoded where it is JSON, else its bytes in base64; `encoding` says which."""

    body: Any
    encoding: Literal["json", "base64"]

    @classmethod
    def of(cls, row: Any) -> Self:
        body, encoding = _decoded(row["body"])
        return cls.model_validate({**dict(row), "body": body, "encoding": encoding})


@router.get("/payments/owed")
async def list_owed(_who: AdminOnly, services: Services, paging: Paging) -> Page[OwedOut]:
    """What is still to be given back, of all tenants, oldest first: refund it, and it is gone from here."""
    found = await services.refunds.list_owed(paging.limit + 1, read_position(paging.cursor))
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1]["completed_at"].isoformat(), found[-1]["id"]) if more else None
    return Page(items=[OwedOut.of(row) for row in found], next_cursor=cursor)


@router.post("/payments/{payment_id}/refunds", status_code=201)
async def refund_payment(payment_id: UUID, body: RefundIn, who: AdminOnly, services: Services) -> RefundOut:
    """Gives money back, through the provider that has it; never more than was paid."""
    refund = await services.refunds.refund(payment_id, body.amount, body.client_id, body.reason, str(who.user_id))
    return RefundOut.of(refund)


@router.get("/payments/{payment_id}/refunds")
async def list_refunds(payment_id: UUID, _who: AdminOnly, services: Services) -> RefundsOut:
    """Oldest first."""
    return RefundsOut(items=[RefundOut.of(refund) for refund in await services.refunds.list_of(payment_id)])


@router.get("/billing/callbacks")
async def list_callbacks(
    _who: AdminOnly,
    services: Services,
    paging: Paging,
    verdict: Verdict | None = None,
    provider: Annotated[str | None, Query(max_length=32)] = None,
) -> Page[StoredCallbackOut]:
    """What providers called back, of all tenants, newest first; `verdict=dead` for those that were given up."""
    found = await services.given_up.list_newest(paging.limit + 1, read_position(paging.cursor), verdict, provider)
    more, found = len(found) > paging.limit, found[: paging.limit]
    cursor = encode_cursor(found[-1]["received_at"].isoformat(), found[-1]["id"]) if more else None
    return Page(items=[StoredCallbackOut.of(row) for row in found], next_cursor=cursor)


@router.get("/billing/callbacks/{callback_id}")
async def get_callback(callback_id: UUID, _who: AdminOnly, services: Services) -> WholeCallbackOut:
    return WholeCallbackOut.of(await services.given_up.get(callback_id))


@router.post("/billing/callbacks/{callback_id}/replay", status_code=202)
async def replay_callback(callback_id: UUID, who: AdminOnly, services: Services) -> StoredCallbackOut:
    """Has a dead one tried again, in its old place."""
    return StoredCallbackOut.of(await services.given_up.replay(callback_id, str(who.user_id)))


def _decoded(body: bytes) -> tuple[Any, str]:
    try:
        return orjson.loads(body), "json"
    except orjson.JSONDecodeError:
        return base64.b64encode(body).decode(), "base64"
