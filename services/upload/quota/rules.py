"""What may be stored. Pure: a frozen state, a command, the next state. No clock, no session.

Always: used + reserved ≤ limit after an admission, whatever came before. A limit lowered below what is stored
deletes nothing; it refuses until enough has gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class State:
    """One tenant's account, in bytes; `limit` None is unlimited."""

    limit: int | None
    used: int = 0
    reserved: int = 0
    files: int = 0

    @property
    def available(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)

    def fits(self, size: int) -> bool:
        return self.limit is None or self.used + self.reserved + size <= self.limit


@dataclass(frozen=True, slots=True)
class Reserve:
    """Holds `size` bytes for an upload, which will become the file `id`."""

    id: UUID
    size: int


@dataclass(frozen=True, slots=True)
class Extend:
    """Makes a reservation hold `size` bytes in all."""

    id: UUID
    size: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The bytes are safe: the reservation becomes a file of `size` bytes."""

    id: UUID
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    id: UUID


@dataclass(frozen=True, slots=True)
class Delete:
    """A stored file goes; `size` is what it counted."""

    id: UUID
    size: int


Command = Reserve | Extend | Settle | Release | Delete


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ok` False: it did not fit. `state` is the account right after this command."""

    ok: bool
    state: State
    released: int = 0  # bytes no longer reserved


C = TypeVar("C", bound=Command)


def apply(state: State, held: Mapping[UUID, int], command: Command) -> tuple[Outcome, dict[UUID, int]]:
    """One command. `held` maps the reservations concerned to their bytes; the second result is `held` afterwards."""
    after = dict(held)
    mine = after.pop(command.id, None)
    match command:
        case Reserve(size=size) | Extend(size=size):
            before = mine or 0
            if size > before and not state.fits(size - before):
                return Outcome(False, state), dict(held)
            after[command.id] = max(size, before)
            state = replace(state, reserved=state.reserved + max(size - before, 0))
        case Settle(size=size):
            before = mine or 0
            # A reservation that expired is not refused where the file still fits.
            if size > before and not state.fits(size - before):
                return Outcome(False, state), dict(held)
            state = State(state.limit, state.used + size, state.reserved - before, state.files + 1)
        case Release():
            state = replace(state, reserved=state.reserved - (mine or 0))
        case Delete(size=size):
            state = replace(state, used=state.used - size, files=state.files - 1)
    return Outcome(True, state, mine or 0), after


def apply_all(state: State, held: Mapping[UUID, int], commands: Sequence[Command]) -> list[Outcome]:
    """In the order of arrival; a refused one leaves room for the next."""
    outcomes = []
    holding = dict(held)
    for command in commands:
        outcome, holding = apply(state, holding, command)
        state = outcome.state
        outcomes.append(outcome)
    return outcomes
