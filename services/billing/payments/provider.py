"""A payment provider, whichever it is: the protocol all of them are behind, and which one a payment goes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

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


@dataclass(frozen=True, slots=True)
class Returning:
    """Money to give back, of one payment. The id stays the same however often it is asked; `again`: it may have been
    asked before.
    """

    refund_id: UUID
    payment_id: UUID
    external_id: str
    transaction_id: str | None
    money: Money
    reason: str
    again: bool = False


class Provider(Protocol):
    name: str

    async def initiate(self, order: Order) -> Opened:
        """The same order again gives the same payment. Raises ProviderSilent, ProviderRefused."""
        ...

    async def status(self, external_id: str) -> Claim:
        """Raises PaymentUnknown, ProviderSilent, ProviderRefused."""
        ...

    async def cancel(self, external_id: str) -> Claim:
        """What became of it, which may be that it was paid. Raises as `status` does."""
        ...

    async def refund(self, returning: Returning) -> str:
        """Its id there. The same again gives the money back once. Raises as `status` does."""
        ...

    async def close(self) -> None: ...


class Providers:
    """Those that are set up. The first that takes a method gets the payment, which remembers who it was."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._by_name = {provider.name: provider for provider in providers}

    def choose(self, method: PaymentMethod) -> Provider:
        """Cards go to Stripe where it is set up; mobile money, and all else, to the external backend."""
        stripe = self._by_name.get("stripe") if method == "credit_card" else None
        return stripe or self._by_name["external"]

    def get(self, name: str) -> Provider:
        """Raises ProviderSilent for one that is no longer set up: its payments wait until it is."""
        found = self._by_name.get(name)
        if found is None:
            raise ProviderSilent(f"{name} is not set up")
        return found

    async def close(self) -> None:
        for provider in self._by_name.values():
            await provider.close()
