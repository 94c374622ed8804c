"""The payment provider behind one protocol, and the external backend of the contract (S4.6)."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson

from services.billing.payments.rules import Claim
from shared.events import PaymentMethod
from shared.money import Money


class ProviderSilent(Exception):
    """No answer, or none that can be read. What it did is unknown."""


class ProviderRefused(Exception):
    """It answered, and said no."""


class PaymentUnknown(ProviderRefused):
    """It answered that there is no such payment."""


@dataclass(frozen=True, slots=True)
class Order:
    payment_id: UUID
    team: str
    money: Money
    method: PaymentMethod
    description: str
    callback_url: str
    return_url: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """`qr_code` is a data URI of an image of the payment's address."""

    external_id: str
    payment_url: str
    qr_code: str | None


class Provider(Protocol):
    async def initiate(self, order: Order) -> Opened:
        """The same order again gives the same payment. Raises ProviderSilent, ProviderRefused."""
        ...

    async def status(self, external_id: str) -> Claim:
        """Raises PaymentUnknown, ProviderSilent, ProviderRefused."""
        ...

    async def cancel(self, external_id: str) -> Claim:
        """What became of it, which may be that it was paid. Raises as `status` does."""
        ...


class ExternalBackend:
    """`POST /api/v1/payments/initiate`, `GET …/{id}/status`, `POST …/{id}/cancel`."""

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
        told = await self._call("POST", "initiate", body, {"Idempotency-Key": str(order.payment_id)})
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

    async def _call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        url = f"{self._base}/api/v1/payments/{path}"
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.request(method, url, json=body, headers={**self._headers, **(headers or {})}) as answer,
            ):
                content = await answer.content.read(256 * 1024)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderSilent(str(error) or type(error).__name__) from error
        if answer.status == 404:
            raise PaymentUnknown("answered 404")
        if 400 <= answer.status < 500 and answer.status not in {408, 409, 425, 429}:
            raise ProviderRefused(f"answered {answer.status}")
        if answer.status >= 300:
            raise ProviderSilent(f"answered {answer.status}")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ProviderSilent("an answer that is no JSON") from error


_STATUSES = ("pending", "processing", "completed", "failed", "cancelled")


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
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProviderSilent(f"cannot be read: {error}") from error


def _text(value: Any, longest: int = 255) -> str:
    """What PostgreSQL can keep: raises ValueError for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest or "\0" in value:
        raise ValueError("not an id")
    return value


def _code(value: Any) -> str | None:
    """A provider without a QR code is one all the same."""
    return value if isinstance(value, str) and value.startswith("data:image/") and len(value) < 65536 else None
