"""Shares, and which method is preferred. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.billing.invoices.rules import half_up
from shared.events import PaymentMethod


@dataclass(frozen=True, slots=True)
class Part:
    """`part` teams of `whole`."""

    part: int
    whole: int

    @property
    def percentage(self) -> float | None:
        """Two decimals, half up; None of nothing."""
        return half_up(self.part * 10_000, self.whole) / 100 if self.whole else None

    @property
    def ratio(self) -> float | None:
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True)
class MethodPayments:
    """Payments that were begun with one method, by what became of them."""

    method: PaymentMethod
    completed: int
    failed: int
    cancelled: int
    open: int

    @property
    def success(self) -> Part:
        """Of those that are decided."""
        return Part(self.completed, self.completed + self.failed + self.cancelled)

    @property
    def begun(self) -> int:
        return self.success.whole + self.open


def preferred(found: Sequence[MethodPayments]) -> PaymentMethod | None:
    """Most payments completed; of as many, most begun, then by name. None where none was completed."""
    paid = [one for one in found if one.completed]
    return min(paid, key=lambda one: (-one.completed, -one.begun, one.method)).method if paid else None
