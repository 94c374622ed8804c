"""When ledger, counters and store tell the same story. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.usage.counters.tally import Amount, Kind


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of file as the ledger and as the counters have it."""

    kind: Kind
    ledger: Amount
    counters: Amount

    @property
    def equal(self) -> bool:
        return self.ledger == self.counters


def lines(ledger: Mapping[Kind, Amount], counters: Mapping[Kind, Amount]) -> list[Line]:
    """Every kind that either side knows; one without files is the same as none."""
    kinds = sorted(ledger.keys() | counters.keys())
    both = [Line(kind, ledger.get(kind, Amount()), counters.get(kind, Amount())) for kind in kinds]
    return [line for line in both if line.ledger != Amount() or line.counters != Amount()]


def total(parts: Mapping[Kind, Amount]) -> Amount:
    return Amount(sum(part.bytes for part in parts.values()), sum(part.files for part in parts.values()))


def holds(totals: list[Amount], kinds: list[Line], missing: int) -> bool:
    """All totals agree, each kind agrees, and no file of the ledger is missing in the store."""
    return len(set(totals)) == 1 and all(line.equal for line in kinds) and missing == 0
