"""One batch of commands worked through, in order, on what the database holds of them. No I/O.

Everything is decided here: what is paid, by which grants, what was done before, which postings come of it.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.credits.commands import (
    Add,
    Command,
    Known,
    Posting,
    Release,
    Reservation,
    Reserve,
    Result,
    Settle,
    Spend,
    Status,
    Sweep,
    TakeBack,
    Transaction,
    Type,
)
from services.billing.credits.rules import Account, Grant, Part, burn_order, divide, pick
from shared.ids import new_id


class Books:
    """`apply` every command once, in order; then the lists hold what is to be written."""

    def __init__(self, known: Known, now: datetime) -> None:
        self.now = now
        self.available, self.reserved, self.seq = known.available, known.reserved, known.seq
        self.transactions: list[Transaction] = []
        self.granted: list[tuple[Grant, str]] = []  # with their descriptions
        self.touched: dict[UUID, Reservation] = {}
        self.spent = 0
        self._grants = {grant.id: grant for grant in known.grants}
        self._order = sorted(known.grants, key=burn_order)
        self._reservations = known.reservations
        self._done = dict(known.done)
        self._close_due(known.due)

    def apply(self, command: Command) -> Result:  # noqa: PLR0911 - one for each command
        match command:
            case Add():
                return self._repeated(command) or self._add(command)
            case Spend():
                return self._repeated(command) or self._spend(command)
            case Reserve():
                return self._repeated(command) or self._reserve(command)
            case Settle():
                return self._settle(command)
            case Release():
                return self._release(command)
            case TakeBack():
                return self._repeated(command) or self._take_back(command)
            case Sweep():
                return Result(available=self.available)

    def _close_due(self, reservations: Sequence[UUID]) -> None:
        """Before anything else: nothing that is over is spent, and nothing is refused for the sake of what died."""
        for found in reservations:
            self._give_back(self._reservations[found], "expired", "The reservation expired.", None)
        over = [grant for grant in self._order if grant.remaining and grant.is_over(self.now)]
        for grant in over:
            self._move([Part(grant.id, grant.remaining)], "available", "expired", "expire", subject=grant.id)
        self._order = [grant for grant in self._order if not grant.is_over(self.now)]

    def _repeated(self, command: Add | Spend | Reserve | TakeBack) -> Result | None:
        before = self._done.get(command.key)
        if before is None:
            return None
        if before.said != command.said:
            return Result(reused=True)
        held = self._reservations.get(before.subject) if before.subject else None
        return Result(before, held, repeated=True, available=self.available)

    def _add(self, command: Add) -> Result:
        # `remaining` comes by the posting.
        grant = Grant(command.id, command.source, command.amount, 0, command.priority, command.expires_at, self.now)
        self.granted.append((grant, command.description))
        self._grants[grant.id] = grant
        if not grant.is_over(self.now):
            insort(self._order, grant, key=burn_order)
        said = {"key": command.key, "said": command.said, "source": command.source, "by": command.by}
        part = [Part(grant.id, command.amount)]
        done = self._move(
            part, command.source, "available", "grant", subject=grant.id, description=command.description, **said
        )
        return Result(done, available=self.available)

    def _spend(self, command: Spend) -> Result:
        cost = command.quantity * command.cost
        parts = pick(self._order, cost)
        if parts is None:
            return self._refused(cost)
        said = {"key": command.key, "said": command.said, "use": command.use, "by": command.by}
        done = self._move(parts, "available", "spent", "spend", quantity=command.quantity, **said)
        return Result(done, available=self.available)

    def _reserve(self, command: Reserve) -> Result:
        cost = command.quantity * command.cost
        parts = pick(self._order, cost)
        if parts is None:
            return self._refused(cost)
        held = Reservation(
            id=command.id,
            use=command.use,
            quantity=command.quantity,
            cost=command.cost,
            holds=parts,
            status="open",
            settled=0,
            created_at=self.now,
            expires_at=self.now + command.lifetime,
        )
        self._keep(held)
        said = {"key": command.key, "said": command.said, "use": command.use, "by": command.by}
        done = self._move(parts, "available", "reserved", "reserve", subject=held.id, quantity=held.quantity, **said)
        return Result(done, held, available=self.available)

    def _settle(self, command: Settle) -> Result:
        held = self._reservations.get(command.reservation)
        if held is None:
            return Result(unknown=True)
        used = held.quantity if command.quantity is None else command.quantity
        if held.status == "settled" and held.settled == used:
            return Result(None, held, repeated=True, available=self.available)
        if held.status != "open" or used > held.quantity:
            return Result(None, held, closed=True)
        paid, rest = divide(held.holds, used * held.cost)
        held.settled = used
        self._close(held, "settled")
        postings = [*_between(paid, "reserved", "spent"), *self._returned(rest)]
        done = self._write("settle", postings, use=held.use, quantity=used, subject=held.id, by=command.by)
        return Result(done, held, available=self.available)

    def _release(self, command: Release) -> Result:
        held = self._reservations.get(command.reservation)
        if held is None:
            return Result(unknown=True)
        if held.status in ("released", "expired"):
            return Result(None, held, repeated=True, available=self.available)
        if held.status != "open":
            return Result(None, held, closed=True)
        done = self._give_back(held, "released", None, command.by)
        return Result(done, held, available=self.available)

    def _take_back(self, command: TakeBack) -> Result:
        """To where they came from: so an account's statement shows what was bought less what was given back."""
        grant = self._grants[command.grant]
        amount = min(command.amount, grant.remaining)
        if not amount:
            return Result(available=self.available)
        said = {"key": command.key, "said": command.said, "source": grant.source, "by": command.by}
        part = [Part(grant.id, amount)]
        done = self._move(part, "available", grant.source, "take_back", subject=grant.id, **said)
        return Result(done, available=self.available)

    def _refused(self, cost: int) -> Result:
        return Result(available=self.available, missing=cost - self.available)

    def _give_back(self, held: Reservation, status: Status, why: str | None, by: str | None) -> Transaction:
        self._close(held, status)
        postings = self._returned(held.holds)
        return self._write("release", postings, use=held.use, subject=held.id, description=why, by=by)

    def _returned(self, parts: Iterable[Part]) -> list[Posting]:
        """To the grants it was taken from; where one is over meanwhile, what it gave is lost with it."""
        postings = []
        for part in parts:
            to: Account = "expired" if self._grants[part.grant].is_over(self.now) else "available"
            postings += _between([part], "reserved", to)
        return postings

    def _close(self, held: Reservation, status: Status) -> None:
        held.status, held.closed_at = status, self.now
        self._keep(held)

    def _keep(self, held: Reservation) -> None:
        self._reservations[held.id] = self.touched[held.id] = held

    def _move(self, parts: Sequence[Part], taken: Account, to: Account, kind: Type, **told: Any) -> Transaction:
        return self._write(kind, _between(parts, taken, to), **told)

    def _write(self, kind: Type, postings: Sequence[Posting], **told: Any) -> Transaction:
        change = 0
        for posting in postings:
            if posting.account == "available":
                self._grants[posting.grant].remaining += posting.amount
                change += posting.amount
            elif posting.account == "reserved":
                self.reserved += posting.amount
            elif posting.account == "spent":
                self.spent += posting.amount
        self.available += change
        self.seq += 1
        done = Transaction(
            seq=self.seq,
            id=new_id(),
            type=kind,
            amount=change,
            at=self.now,
            available_after=self.available,
            reserved_after=self.reserved,
            postings=tuple(_folded(postings)),
            **told,
        )
        self.transactions.append(done)
        if done.key is not None:
            self._done[done.key] = done
        return done


def _between(parts: Iterable[Part], source: Account, to: Account) -> list[Posting]:
    return [
        p for part in parts for p in (Posting(source, part.grant, -part.amount), Posting(to, part.grant, part.amount))
    ]


def _folded(postings: Iterable[Posting]) -> list[Posting]:
    """One for each account and grant."""
    sums: dict[tuple[Account, UUID], int] = {}
    for posting in postings:
        place = posting.account, posting.grant
        sums[place] = sums.get(place, 0) + posting.amount
    return [Posting(account, grant, amount) for (account, grant), amount in sums.items()]
