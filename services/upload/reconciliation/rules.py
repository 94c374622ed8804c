"""Four sides of one account: ledger, account, files, objects. What differs, which is wrong, what would put it right.

The rows of files are what can be read and what objects belong to, so everything is measured against them. Only where
the store contradicts them they are not believed: a row whose object is gone or has another size, an object whose row is
gone while the ledger still has it. Nothing is adjusted to such a row: that would make the loss right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, get_args
from uuid import UUID

from shared.events import FileType, StorageAdjusted

Kind = tuple[str, str]  # file type, category
Side = Literal["ledger", "account", "reserved", "images", "objects", "checkpoint", "chain", "columns"]
Wrong = Literal["ledger", "account", "files", "objects", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Amount:
    bytes: int = 0
    files: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.bytes + other.bytes, self.files + other.files)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.bytes - other.bytes, self.files - other.files)


NOTHING = Amount()
Sums = Mapping[Kind, Amount]


@dataclass(frozen=True, slots=True)
class Look:
    """A tenant at one position. `ledger` is the fold, `files` the sums of the rows, versions and trash among them;
    `reserved` is the account's, `held` the sum of the reservations there are. `images`: by how many more than the
    ledger has the account counts of a month, where it does.
    """

    position: int
    ledger: Sums
    files: Sums
    account: Amount
    reserved: int = 0
    held: int = 0
    images: Mapping[date, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Objects:
    """What lies in the store for the rows. `lost`: objects the ledger counts and no row has. `orphans` in bytes."""

    kinds: Sums
    missing: Sequence[str] = ()
    orphans: int = 0
    lost: Sums = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """`side` has so much more than the files (`objects`, `ledger`, `account`), than is reserved, or than the fold
    (`checkpoint`); so many more images of a `month` than the ledger (`images`). `kind` None: in all. Of `chain` and
    `columns` so many entries are not as they were written, from `seq` on.
    """

    side: Side
    wrong: Wrong
    amount: Amount
    kind: Kind | None = None
    seq: int | None = None
    month: date | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """What an adjustment would have to add: to each kind of the ledger, and to the account beside that. `images`: what
    is to be taken off the account's images of a month.
    """

    kinds: Sums
    account: Amount
    images: Mapping[date, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kinds) or self.account != NOTHING or bool(self.images)

    def told(self) -> list[list[Any]]:
        """As JSON; the same gap is the same text."""
        images = [[month.isoformat(), apart] for month, apart in sorted(self.images.items())]
        return [*listed(self.kinds), [self.account.bytes, self.account.files], *images]


def total(sums: Sums) -> Amount:
    return sum(sums.values(), NOTHING)


def plus(first: Sums, second: Sums) -> dict[Kind, Amount]:
    """Without the kinds that come to nothing."""
    kinds = sorted(first.keys() | second.keys())
    added = {kind: first.get(kind, NOTHING) + second.get(kind, NOTHING) for kind in kinds}
    return {kind: amount for kind, amount in added.items() if amount != NOTHING}


def minus(first: Sums, second: Sums) -> dict[Kind, Amount]:
    return plus(first, {kind: NOTHING - amount for kind, amount in second.items()})


def listed(sums: Sums) -> list[list[Any]]:
    return [[*kind, amount.bytes, amount.files] for kind, amount in sorted(sums.items())]


def unlisted(rows: Iterable[Sequence[Any]]) -> dict[Kind, Amount]:
    return {(file_type, category): Amount(size, files) for file_type, category, size, files in rows}


def gap_of(look: Look) -> Gap:
    return Gap(minus(look.files, look.ledger), total(look.ledger) - look.account, look.images)


def compare(look: Look, objects: Objects | None) -> list[Difference]:
    """`objects` None: nobody has looked into the store."""
    found = [
        Difference("ledger", _wrong(look, objects, kind), amount, kind)
        for kind, amount in minus(look.ledger, look.files).items()
    ]
    if (apart := look.account - total(look.files)) != NOTHING:
        follows = look.account == total(look.ledger) and all(difference.wrong == "files" for difference in found)
        found.append(Difference("account", "files" if follows else "account", apart))
    if look.reserved != look.held:
        found.append(Difference("reserved", "account", Amount(look.reserved - look.held)))
    for month, apart_by in sorted(look.images.items()):
        found.append(Difference("images", "account", Amount(0, apart_by), month=month))
    if objects is not None:
        for kind, amount in minus(objects.kinds, look.files).items():
            agrees = objects.kinds.get(kind, NOTHING) == look.ledger.get(kind, NOTHING)
            found.append(Difference("objects", "files" if agrees else "objects", amount, kind))
    return found


def _wrong(look: Look, objects: Objects | None, kind: Kind) -> Wrong:
    """Of three sides the one that stands alone; the files only where the store says so."""
    if objects is None:
        return "ledger"
    agrees = objects.kinds.get(kind, NOTHING) == look.ledger.get(kind, NOTHING)
    return "files" if agrees or kind in objects.lost else "ledger"


def doubtful(look: Look, objects: Objects) -> set[Kind]:
    """Kinds whose rows the store contradicts, and those no event can name."""
    known = {kind for kind in look.ledger.keys() | look.files.keys() if kind[0] in get_args(FileType)}
    unknown = (look.ledger.keys() | look.files.keys()) - known
    return minus(objects.kinds, look.files).keys() | objects.lost.keys() | unknown


def adjustments(
    tenant: UUID, run: UUID, at: datetime, look: Look, doubted: set[Kind]
) -> tuple[list[StorageAdjusted], Amount]:
    """One for each kind that differs, those that add before those that take away; one of nothing where the account
    alone was wrong. And the account afterwards.
    """
    gap = gap_of(look)
    kinds = {kind: amount for kind, amount in gap.kinds.items() if kind not in doubted}
    said = [(kind, amount, _reason(look, kind)) for kind, amount in kinds.items()]
    said.sort(key=lambda entry: (-entry[1].bytes, -entry[1].files))
    if gap.account != NOTHING:
        reason = f"The account had {_told(look.account)}, the ledger {_told(total(look.ledger))}."
        said.append((("other", ""), NOTHING, reason))
    events = [
        StorageAdjusted.model_validate(
            {
                "tenant_id": tenant,
                "id": run,
                "file_type": kind[0],
                "category": kind[1],
                "project_id": None,
                "delta_bytes": amount.bytes,
                "delta_files": amount.files,
                "reason": reason,
                "at": at,
                "partial": number < len(said),
            }
        )
        for number, (kind, amount, reason) in enumerate(said, 1)
    ]
    return events, total(look.ledger) + total(kinds)


def _reason(look: Look, kind: Kind) -> str:
    ledger, files = look.ledger.get(kind, NOTHING), look.files.get(kind, NOTHING)
    return f"The ledger had {_told(ledger)}; there are {_told(files)}."


def _told(amount: Amount) -> str:
    return f"{amount.bytes} bytes in {amount.files} files"
