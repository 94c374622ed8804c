"""Packs that are or were sold, in the database: a payment keeps the version it bought."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from services.billing.catalogue.loader import CatalogueError
from services.billing.catalogue.problems import Problem
from services.billing.credits.catalogue import CreditCatalogue, Pack
from services.billing.credits.commands import Add, Result, TakeBack
from services.billing.credits.errors import PackNotFound
from services.billing.credits.repository import commit_batch
from services.billing.payments.fulfilment import Purchase, Taken
from services.billing.payments.repository import Payment
from shared.clock import Clock
from shared.money import Money

_INSERT = "INSERT INTO credit_pack (code, version, digest, definition) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
_KNOWN = "SELECT digest FROM credit_pack WHERE code = $1 AND version = $2"
_GRANT = "SELECT subject FROM credit_transaction WHERE tenant_id = $1 AND key = $2"
_GET = "SELECT definition FROM credit_pack WHERE code = $1 AND version = $2"


async def register(connection: Any, catalogue: CreditCatalogue) -> None:
    """Raises CatalogueError when a version that was sold says something else now."""
    for pack in catalogue.packs:
        await connection.execute(_INSERT, pack.code, pack.version, pack.digest, pack.model_dump(mode="json"))
        if await connection.fetchval(_KNOWN, pack.code, pack.version) != pack.digest:
            text = f"pack {pack.code} version {pack.version} was changed in place: give it a new version"
            raise CatalogueError([Problem("", text)])


async def get(connection: Any, code: str, version: int) -> Pack:
    """Raises LookupError."""
    found = await connection.fetchval(_GET, code, version)
    if found is None:
        raise LookupError(f"pack {code} version {version} was never sold")
    return Pack.model_validate(found)


async def fulfil(connection: Any, tenant: UUID, payment_id: UUID, pack: str, version: int, *, now: datetime) -> Result:
    """Grants what a payment bought, inside the caller's transaction, once for a payment id however often it is called.

    Call it before anything is appended to `billing.v1` in the same transaction: the credit account is locked first,
    the head of the outbox second, by everybody. Raises LookupError for a pack that was never sold.
    """
    bought = await get(connection, pack, version)
    command = Add(
        key=f"payment:{payment_id}",
        said={"pack": pack, "version": version},
        source="purchase",
        amount=bought.credits,
        description=bought.name,
        by="payment",
        priority=bought.priority,
        expires_at=None if bought.expires_days is None else now + timedelta(days=bought.expires_days),
    )
    (done,) = await commit_batch(connection, tenant, [command], now)
    if done.reused:
        raise ValueError(f"payment {payment_id} has bought another pack already")
    return done


class PackFulfilment:
    """What a payment of credits buys."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def fulfil(self, connection: Any, payment: Payment) -> int:
        await self.grant(connection, payment)
        return payment.amount

    async def grant(self, connection: Any, payment: Payment) -> int:
        """How many credits it was."""
        told = payment.metadata
        pack, version = told["pack"], int(told["pack_version"])
        await fulfil(connection, payment.tenant_id, payment.id, pack, version, now=self._clock.now())
        return (await get(connection, pack, version)).credits

    async def take_back(self, connection: Any, payment: Payment, refund: UUID, before: int, after: int) -> Taken:
        """The same part of the pack as of its price, whole credits, what is rounded off in the team's favour."""
        pack = await get(connection, payment.metadata["pack"], int(payment.metadata["pack_version"]))
        wanted = pack.credits * after // payment.amount - pack.credits * before // payment.amount
        granted = await connection.fetchval(_GRANT, payment.tenant_id, f"payment:{payment.id}")
        if granted is None or not wanted:
            return Taken(0, 0)
        command = TakeBack(f"refund:{refund}", granted, wanted, "payment")
        (done,) = await commit_batch(connection, payment.tenant_id, [command], self._clock.now())
        taken = -done.transaction.amount if done.transaction else 0
        return Taken(taken, wanted - taken)

    def title(self, payment: Payment) -> str:
        return payment.metadata["pack_name"]


class LateMoney:
    """Credits for money that came for nothing any more: a late pack's own, else as many as the money would have bought
    where a credit is dearest, rounded up: nobody gains by paying late, and nobody loses a cent.
    """

    def __init__(self, catalogue: CreditCatalogue, packs: PackFulfilment, clock: Clock) -> None:
        self._catalogue = catalogue
        self._packs = packs
        self._clock = clock

    async def as_credit(self, connection: Any, payment: Payment, money: Money) -> int | None:
        """None where no pack is sold in that currency."""
        if payment.purpose == "credits":
            return await self._packs.grant(connection, payment)
        why = f"{money.text} {money.currency} that came too late"
        return await self.give(connection, payment.tenant_id, money, f"late payment:{payment.id}", why)

    async def give(self, connection: Any, tenant: UUID, money: Money, key: str, why: str) -> int | None:
        """Once for a key, inside the caller's transaction, which must not hold the head of `billing.v1` yet."""
        worth = credits_for(money, self._catalogue.packs)
        if worth is None:
            return None
        command = Add(
            key=key,
            said={"amount": money.text, "currency": money.currency},
            source="refund",
            amount=worth,
            description=why,
            by="payment",
            priority=self._catalogue.grant_priority,
        )
        await commit_batch(connection, tenant, [command], self._clock.now())
        return worth


def credits_for(money: Money, packs: Sequence[Pack]) -> int | None:
    """None where no pack is sold in that currency."""
    sold = [
        (pack.credits, Money.parse(pack.prices[money.currency], money.currency).amount)
        for pack in packs
        if money.currency in pack.prices
    ]
    if not sold:
        return None
    number, price = max(sold, key=lambda pack: Fraction(pack[1], pack[0]))
    return -(-money.amount * number // price)


def purchase_of(catalogue: CreditCatalogue, code: str, currency: str) -> Purchase:
    """Raises PackNotFound: there is none, or none for that currency."""
    pack = next((pack for pack in catalogue.packs if pack.code == code), None)
    if pack is None or currency not in pack.prices:
        raise PackNotFound(code, currency)
    told = {"pack": pack.code, "pack_version": str(pack.version), "pack_name": pack.name}
    return Purchase("credits", pack.code, Money.parse(pack.prices[currency], currency), told)
