"""What may be stored. Pure: a frozen state, a command, the next state. No clock, no session.

Always: used + reserved ≤ limit after an admission, whatever came before. A limit lowered below what is stored
deletes nothing; it refuses until enough has gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    """`ok` False: it did not fit. `state` is the account right after this command, `held` what its reservation holds
    then, in bytes, or None without one.
    """

    ok: bool
    state: State
    held: int | None


def apply(state: State, held: int | None, command: Command) -> Outcome:
    """One command. `held`: the bytes its reservation holds, None when it has none."""
    before = held or 0
    match command:
        case Reserve(size=size) | Extend(size=size):
            size = max(size, before)
            if size > before and not state.fits(size - before):
                return Outcome(False, state, held)
            return Outcome(True, replace(state, reserved=state.reserved + size - before), size)
        case Settle(size=size):
            # A reservation that expired is not refused where the file still fits.
            if size > before and not state.fits(size - before):
                return Outcome(False, state, held)
            return Outcome(True, State(state.limit, state.used + size, state.reserved - before, state.files + 1), None)
        case Release():
            return Outcome(True, replace(state, reserved=state.reserved - before), None)
        case Delete(size=size):
            return Outcome(True, replace(state, used=state.used - size, files=state.files - 1), held)


def apply_all(
    state: State, held: Mapping[UUID, int], commands: Sequence[Command]
) -> tuple[list[Outcome], dict[UUID, int]]:
    """In the order of arrival; a refused one leaves room for the next. The second result is `held` afterwards."""
    outcomes, after = [], dict(held)
    for command in commands:
        outcome = apply(state, after.pop(command.id, None), command)
        if outcome.held is not None:
            after[command.id] = outcome.held
        state = outcome.state
        outcomes.append(outcome)
    return outcomes, after
