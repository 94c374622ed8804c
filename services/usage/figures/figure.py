"""What an event tells outright, as opposed to what is added up here. Pure."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Self

from services.usage.months import Month
from shared.events import Event


@dataclass(frozen=True, slots=True)
class Figure:
    """`used` of one metric by record `seq` of its topic. `remaining` is what can still be used, where the event says
    so; `month` the one that `used` is of.
    """

    used: int
    remaining: int | None = None
    month: Month | None = None
    seq: int = 0

    @classmethod
    def stored(cls, used: int, remaining: int | None, first: date | None, seq: int = 0) -> Self:
        """`first` day of the month."""
        return cls(used, remaining, None if first is None else Month(first.year, first.month), seq)

    def on(self, month: Month) -> Self:
        """As it stands once `month` runs: nothing is used yet of a month nobody has told of."""
        return self if self.month is None or self.month >= month else replace(self, used=0, month=month)

    def limit(self, granted: int | None) -> int | None:
        """`granted` by the plan, unless what remains is told."""
        return granted if self.remaining is None else self.used + self.remaining


@dataclass(frozen=True, slots=True)
class Told:
    """By which event, and in which of its fields."""

    event: type[Event]
    used: str
    remaining: str | None = None
    month: str | None = None

    def read(self, event: Any, seq: int, newest: Month) -> Figure:
        """`newest`: the last month that may have begun, whatever the clock of the teller says."""
        return Figure(
            getattr(event, self.used),
            None if self.remaining is None else getattr(event, self.remaining),
            None if self.month is None else min(Month.read(getattr(event, self.month)), newest),
            seq,
        )

    def before_any(self, least: int) -> Figure:
        """What stands before the first event: nothing that could be spent."""
        return Figure(least, None if self.remaining is None else 0)
