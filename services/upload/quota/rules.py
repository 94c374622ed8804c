"""What may be stored. Pure: a frozen state, a command, the next state. No clock, no session.

Always: used + reserved ≤ limit after an admission, whatever came before. A limit lowered below what is stored
deletes nothing, and neither does an import that was allowed over it; both refuse until enough has gone. Images of a
month are admitted by the same commands, the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one month: stored in it, and held by uploads begun in it. `bought` of those stored and `buying` of
    those held are above the plan's quota, for credits.
    """

    used: int = 0
    reserved: int = 0
    bought: int = 0
    buying: int = 0

    @property
    def taken(self) -> int:
        """Places of the plan's own."""
        return self.used + self.reserved - self.bought - self.buying


@dataclass(frozen=True, slots=True)
class State:
    """One tenant's account, in bytes; `limit` None is unlimited, and so is `images_limit` (images a month).

    `images` by the first day of the month, for the months somebody asks about.
    """

    limit: int | None
    used: int = 0
    reserved: int = 0
    files: int = 0
    images_limit: int | None = None
    images: Mapping[date, Images] = field(default_factory=dict)

    @property
    def available(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)

    def fits(self, size: int) -> bool:
        return self.limit is None or self.used + self.reserved + size <= self.limit

    def has_image_left(self, month: date) -> bool:
        return self.images_limit is None or self.images.get(month, Images()).taken < self.images_limit


@dataclass(frozen=True, slots=True)
class Held:
    """What a reservation holds: bytes, and one image of a month if it is for an image; `paid`: above the quota."""

    size: int
    month: date | None = None
    paid: bool = False


@dataclass(frozen=True, slots=True)
class Reserve:
    """Makes a reservation hold `size` bytes in all, for an upload that will become the file `id`, and an image of
    `month` if one is given. It never shrinks and never changes its month.

    `paid`: credits are held for it, so the image may be one above the quota, where the plan has images at all.
    """

    id: UUID
    size: int
    month: date | None = None
    paid: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """The bytes are safe: the reservation becomes a file of `size` bytes.

    `freed`: bytes of the file it takes the place of, which go at the same moment; None where it is a new file.
    `month`: it is an image of that month, also when its reservation has been given away meanwhile.
    `force`: it lies there already, so it counts even where it does not fit (an import that was allowed to).
    """

    id: UUID
    size: int
    freed: int | None = None
    month: date | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    id: UUID


@dataclass(frozen=True, slots=True)
class Delete:
    """A stored file goes; `size` is what it counted."""

    id: UUID
    size: int


@dataclass(frozen=True, slots=True)
class Alter:
    """A stored file changes without a byte: its place, or in and out of the trash."""

    id: UUID


Command = Reserve | Settle | Release | Delete | Alter
Reason = Literal["bytes", "images"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refused`: what there was not enough of. `state` is the account right after this command, `held` what its
    reservation holds then, or None without one.
    """

    refused: Reason | None
    state: State
    held: Held | None

    @property
    def ok(self) -> bool:
        return self.refused is None


def apply(state: State, held: Held | None, command: Command) -> Outcome:
    """One command. `held`: what its reservation holds, None when it has none."""
    match command:
        case Reserve():
            return _reserve(state, held, command)
        case Settle():
            return _settle(state, held, command)
        case Release():
            return Outcome(None, _released(state, held), None)
        case Delete(size=size):
            return Outcome(None, replace(state, used=state.used - size, files=state.files - 1), held)
        case Alter():
            return Outcome(None, state, held)


def _reserve(state: State, held: Held | None, command: Reserve) -> Outcome:
    before = held or Held(0)
    size = max(command.size, before.size)
    if size > before.size and not state.fits(size - before.size):
        return Outcome("bytes", state, held)
    month, paid = before.month, before.paid
    if month is None and command.month is not None:
        paid = not state.has_image_left(command.month)  # what is free is not paid for
        if paid and not (command.paid and state.images_limit):
            return Outcome("images", state, held)
        month = command.month
        state = _count(state, month, Images(reserved=1, buying=int(paid)))
    return Outcome(None, replace(state, reserved=state.reserved + size - before.size), Held(size, month, paid))


def _settle(state: State, held: Held | None, command: Settle) -> Outcome:
    before = held.size if held else 0
    change = command.size - (command.freed or 0)
    # A reservation that expired is not refused where the file still fits.
    if change > before and not command.force and not state.fits(change - before):
        return Outcome("bytes", state, held)
    month = held.month if held is not None else None
    if month is None and command.month is not None:
        if not state.has_image_left(command.month):
            return Outcome("images", state, held)
        month = command.month
    state = _released(state, held)
    if month is not None:
        state = _count(state, month, Images(used=1, bought=int(held is not None and held.paid)))
    files = state.files + (1 if command.freed is None else 0)
    return Outcome(None, replace(state, used=state.used + change, files=files), None)


def _released(state: State, held: Held | None) -> State:
    if held is None:
        return state
    if held.month is not None:
        state = _count(state, held.month, Images(reserved=-1, buying=-int(held.paid)))
    return replace(state, reserved=state.reserved - held.size)


def _count(state: State, month: date, more: Images) -> State:
    now = state.images.get(month, Images())
    after = Images(
        now.used + more.used, now.reserved + more.reserved, now.bought + more.bought, now.buying + more.buying
    )
    return replace(state, images={**state.images, month: after})


def release_all(state: State, expired: Sequence[Held]) -> State:
    """Reservations of uploads that died."""
    for held in expired:
        state = _released(state, held)
    return state


def apply_all(
    state: State, held: Mapping[UUID, Held], commands: Sequence[Command]
) -> tuple[list[Outcome], dict[UUID, Held]]:
    """In the order of arrival; a refused one leaves room for the next. The second result is `held` afterwards."""
    outcomes, after = [], dict(held)
    for command in commands:
        outcome = apply(state, after.pop(command.id, None), command)
        if outcome.held is not None:
            after[command.id] = outcome.held
        state = outcome.state
        outcomes.append(outcome)
    return outcomes, after
