"""Stripe: a Checkout Session a payment. The SDK speaks through aiohttp, so nothing blocks the loop."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp
import stripe

from services.billing.payments.provider import (
    Opened,
    Order,
    PaymentUnknown,
    ProviderRefused,
    ProviderSilent,
    Returning,
)
from services.billing.payments.rules import Claim
from services.billing.payments.stripe_sessions import claim_of, stripe_amount

T = TypeVar("T")

_UNDECIDED = (stripe.APIConnectionError, stripe.RateLimitError, stripe.AuthenticationError, stripe.PermissionError)


class StripeBackend:
    """`base` is Stripe's own address unless a test says otherwise. The SDK does not repeat by itself: whoever asked
    does, later, under the same key.
    """

    name = "stripe"

    def __init__(self, api_key: str, base: str, timeout: float) -> None:
        self._timeout = timeout
        self._http = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=timeout))
        self._client = stripe.StripeClient(
            api_key, http_client=self._http, max_network_retries=0, base_addresses={"api": base.rstrip("/")}
        )

    async def close(self) -> None:
        # Closing would make a session where none was needed.
        if vars(self._http).get("_cached_session") is not None:
            await self._http.close_async()  # type: ignore[no-untyped-call] # the SDK says nothing

    async def initiate(self, order: Order) -> Opened:
        told = {**order.metadata, "payment_id": str(order.payment_id), "team": order.team}
        price = {
            "currency": order.money.currency.lower(),
            "unit_amount": stripe_amount(order.money),
            "product_data": {"name": order.description},
        }
        params: Any = {
            "mode": "payment",
            "payment_method_types": ["card"],
            "client_reference_id": str(order.payment_id),
            "line_items": [{"quantity": 1, "price_data": price}],
            "metadata": told,
            "payment_intent_data": {"metadata": told, "description": order.description},
            "success_url": order.return_url,
            "cancel_url": order.return_url,
        }
        sessions = self._client.v1.checkout.sessions
        session = await self._ask(sessions.create_async(params, {"idempotency_key": str(order.payment_id)}))
        if not session.url:
            raise ProviderSilent("a session without an address")
        return Opened(session.id, session.url, None)

    async def status(self, external_id: str) -> Claim:
        params: Any = {"expand": ["payment_intent"]}
        return claim_of(await self._ask(self._client.v1.checkout.sessions.retrieve_async(external_id, params)))

    async def cancel(self, external_id: str) -> Claim:
        try:
            return claim_of(await self._ask(self._client.v1.checkout.sessions.expire_async(external_id)))
        except PaymentUnknown:
            raise
        except ProviderRefused:
            # Only an open one expires: it is paid, or has expired before.
            return await self.status(external_id)

    async def refund(self, returning: Returning) -> str:
        if returning.transaction_id is None:
            raise ProviderRefused("a payment without a payment intent")
        params: Any = {
            "payment_intent": returning.transaction_id,
            "amount": stripe_amount(returning.money),
            "metadata": {"refund_id": str(returning.refund_id), "payment_id": str(returning.payment_id)},
        }
        refund = await self._find_refund(returning) if returning.again else None
        if refund is None:
            # Stripe forgets keys, after a day at the earliest: the key alone stops no later repeat.
            refund = await self._ask(
                self._client.v1.refunds.create_async(params, {"idempotency_key": str(returning.refund_id)})
            )
        if refund.status in {"failed", "canceled"}:
            raise ProviderRefused(f"the refund is {refund.status}")
        return refund.id

    async def _find_refund(self, returning: Returning) -> stripe.Refund | None:
        """The one that was made for it before, if one was."""
        params: Any = {"payment_intent": str(returning.transaction_id), "limit": 100}
        while True:
            page = await self._ask(self._client.v1.refunds.list_async(params))
            for refund in page.data:
                told: Any = refund.metadata or {}
                if "refund_id" in told and told["refund_id"] == str(returning.refund_id):
                    return refund
            if not page.has_more:
                return None
            params = {**params, "starting_after": page.data[-1].id}

    async def _ask(self, call: Awaitable[T]) -> T:
        """Raises PaymentUnknown, ProviderSilent, ProviderRefused. Stripe's own words stay out of it: they quote."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except _UNDECIDED as error:
            raise ProviderSilent(type(error).__name__) from error
        except stripe.StripeError as error:
            status = error.http_status or 0
            said = f"answered {status} {error.code or ''}".strip()
            if status == 404:
                raise PaymentUnknown(said) from error
            if 400 <= status < 500 and status not in {408, 409, 425}:
                raise ProviderRefused(said) from error
            raise ProviderSilent(said) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderSilent(str(error) or type(error).__name__) from error
