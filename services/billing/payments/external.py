"""The external payment backend of the contract (S4.6)."""

import asyncio
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson

from services.billing.payments.provider import (
    Opened,
    Order,
    PaymentUnknown,
    ProviderRefused,
    ProviderSilent,
    Returning,
)
from services.billing.payments.rules import Claim
from shared.money import Money

_STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
# They say nothing of the order: asked too often, asked at once, a key that is being exchanged.
_UNDECIDED = {401, 403, 408, 409, 425, 429}


class ExternalBackend:
    """`POST /api/v1/payments/initiate`, `GET …/{id}/status`, `POST …/{id}/cancel`; and `POST …/{id}/refund`, which is
    an addition of ours.
    """

    name = "external"

    def __init__(self, base_url: str, api_key: str, timeout: float) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def initiate(self, order: Order) -> Opened:
        body = {
            "payment_id": str(order.payment_id),
            "team": order.team,
            "amount": order.money.text,
            "currency": order.money.currency,
            "method": order.method,
            "description": order.description,
            "callback_url": order.callback_url,
            "return_url": order.return_url,
            "metadata": order.metadata,
        }
        told = await self._call("POST", "initiate", body, key=order.payment_id)
        try:
            return Opened(
                _text(told["external_payment_id"]), _text(told["payment_url"], 2048), _code(told.get("qr_code"))
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderSilent("an answer without a payment") from error

    async def status(self, external_id: str) -> Claim:
        return claim_of(await self._call("GET", f"{quote(external_id, safe='')}/status"))

    async def cancel(self, external_id: str) -> Claim:
        return claim_of(await self._call("POST", f"{quote(external_id, safe='')}/cancel"))

    async def refund(self, returning: Returning) -> str:
        body = {
            "refund_id": str(returning.refund_id),
            "amount": returning.money.text,
            "currency": returning.money.currency,
            "reason": returning.reason,
        }
        path = f"{quote(returning.external_id, safe='')}/refund"
        told = await self._call("POST", path, body, key=returning.refund_id)
        try:
            if told["refund_id"] != str(returning.refund_id):
                raise ValueError("another refund")
            return _text(told["external_refund_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderSilent("an answer without a refund") from error

    async def _call(self, method: str, path: str, body: Any = None, key: UUID | None = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        url = f"{self._base}/api/v1/payments/{path}"
        headers = {**self._headers, **({"Idempotency-Key": str(key)} if key else {})}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.request(method, url, json=body, headers=headers) as answer,
            ):
                content = await answer.content.read(256 * 1024)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderSilent(str(error) or type(error).__name__) from error
        _check(answer.status)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ProviderSilent("an answer that is no JSON") from error


def claim_of(data: Any) -> Claim:
    """Reads a status or a callback's data. Raises ProviderSilent when it makes no sense."""
    try:
        status = data["status"]
        if status not in _STATUSES:
            raise ValueError(f"status {status!r}")
        return Claim(
            payment_id=str(UUID(data["payment_id"])),
            external_id=_text(data["external_payment_id"]),
            status=status,
            money=Money.parse(data["amount"], data["currency"]),
            transaction_id=None if data.get("transaction_id") is None else _text(data["transaction_id"]),
            team=None if data.get("team") is None else _text(data["team"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProviderSilent(f"cannot be read: {error}") from error


def _check(status: int) -> None:
    if status == 404:
        raise PaymentUnknown("answered 404")
    if 400 <= status < 500 and status not in _UNDECIDED:
        raise ProviderRefused(f"answered {status}")
    if status >= 300:
        raise ProviderSilent(f"answered {status}")


def _text(value: Any, longest: int = 255) -> str:
    """What PostgreSQL can keep: raises ValueError for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest or "\0" in value:
        raise ValueError("not an id")
    return value


def _code(value: Any) -> str | None:
    """A provider without a QR code is one all the same."""
    return value if isinstance(value, str) and value.startswith("data:image/") and len(value) < 65536 else None
