"""Credits as one would keep them on paper: slow, plain, and written without a look at the code under test."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.credits.commands import Add, Command, Release, Reserve, Settle, Spend


@dataclass
class Paper:
    """`grants`: remaining credits by id, beside what they were granted with."""

    given: dict[UUID, tuple[Add, datetime]] = field(default_factory=dict)
    grants: dict[UUID, int] = field(default_factory=dict)
    held: dict[UUID, tuple[Reserve, datetime, list[UUID]]] = field(default_factory=dict)  # one entry a credit
    closed: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    spent: int = 0
    expired: int = 0

    def sweep(self, now: datetime) -> None:
        for held_id, (_, until, credits_) in list(self.held.items()):
            if until <= now:
                del self.held[held_id]
                self.closed[held_id] = ("expired", 0)
                self._return(credits_, now)
        for grant, left in self.grants.items():
            if self._is_over(grant, now):
                self.expired += left
                self.grants[grant] = 0

    def apply(self, command: Command, now: datetime) -> str:  # noqa: PLR0911 - one for each outcome
        match command:
            case Add() | Spend() | Reserve() if command.key in self.done:
                return "repeated"
            case Add():
                self.done.add(command.key)
                self.given[command.id], self.grants[command.id] = (command, now), command.amount
                return "done"
            case Spend():
                paid = self._take(command.quantity * command.cost)
                if paid is None:
                    return "missing"
                self.done.add(command.key)
                self.spent += len(paid)
                return "done"
            case Reserve():
                paid = self._take(command.quantity * command.cost)
                if paid is None:
                    return "missing"
                self.done.add(command.key)
                self.held[command.id] = (command, now + command.lifetime, paid)
                return "done"
            case Settle():
                return self._settle(command, now)
            case Release():
                return self._release(command, now)
            case _:
                return "done"

    def _settle(self, command: Settle, now: datetime) -> str:
        if command.reservation in self.closed:
            return "repeated" if self.closed[command.reservation] == ("settled", command.quantity) else "closed"
        if command.reservation not in self.held:
            return "unknown"
        asked, _, credits_ = self.held[command.reservation]
        used = command.quantity or 0
        if used > asked.quantity:
            return "closed"
        del self.held[command.reservation]
        self.closed[command.reservation] = ("settled", used)
        self.spent += used * asked.cost
        self._return(credits_[used * asked.cost :], now)
        return "done"

    def _release(self, command: Release, now: datetime) -> str:
        if command.reservation in self.closed:
            return "closed" if self.closed[command.reservation][0] == "settled" else "repeated"
        if command.reservation not in self.held:
            return "unknown"
        _, _, credits_ = self.held.pop(command.reservation)
        self.closed[command.reservation] = ("released", 0)
        self._return(credits_, now)
        return "done"

    def _take(self, amount: int) -> list[UUID] | None:
        """Credit by credit, each time from the grant that is to burn next."""
        if sum(self.grants.values()) < amount:
            return None
        taken = []
        for _ in range(amount):
            grant = min((g for g, left in self.grants.items() if left), key=self._rank)
            self.grants[grant] -= 1
            taken.append(grant)
        return taken

    def _rank(self, grant: UUID) -> Any:
        add, at = self.given[grant]
        never = add.expires_at is None
        return add.priority, never, 0 if add.expires_at is None else add.expires_at.timestamp(), at, grant

    def _return(self, credits_: list[UUID], now: datetime) -> None:
        for grant in credits_:
            if self._is_over(grant, now):
                self.expired += 1
            else:
                self.grants[grant] += 1

    def _is_over(self, grant: UUID, now: datetime) -> bool:
        expires_at = self.given[grant][0].expires_at
        return expires_at is not None and expires_at <= now
