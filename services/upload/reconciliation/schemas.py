"""What came of a reconciliation, as it is answered and kept. Sizes in bytes."""

from datetime import date, datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.ledger.rules import Entry
from services.upload.reconciliation.report import Report
from services.upload.reconciliation.rules import NOTHING, Amount, Difference, Kind, Objects, Side, Wrong, total
from shared.events import StorageAdjusted


class SideOut(BaseModel):
    bytes: int
    files: int

    @classmethod
    def of(cls, amount: Amount) -> Self:
        return cls(bytes=amount.bytes, files=amount.files)


class StoreSideOut(SideOut):
    """What lies there for the files; the first hundred that are missing or damaged; what lies there for nobody."""

    missing: list[str]
    orphans_bytes: int

    @classmethod
    def found(cls, objects: Objects) -> Self:
        lying = total(objects.kinds)
        missing = list(objects.missing)
        return cls(bytes=lying.bytes, files=lying.files, missing=missing, orphans_bytes=objects.orphans)


class HiddenOut(BaseModel):
    """What takes room and is shown in no list. `trash` and `versions` are parts of the files; `reserved` is held for
    uploads under way, `resumable` has come of those in pieces, `staged` is what all of them have in the store;
    `abandoned` is what nobody will place, as far as the store says whose it was; `deleted` waits to be removed.
    `staged` and `abandoned` are null where nobody looked into the store.
    """

    trash: int
    versions: int
    reserved: int
    resumable: int
    staged: int | None = None
    abandoned: int | None = None
    orphans: int
    exports: int
    thumbnails: int
    deleted: int


class KindSidesOut(BaseModel):
    file_type: str
    category: str
    ledger: SideOut
    files: SideOut
    store: SideOut | None


class DifferenceOut(BaseModel):
    """`side` has so much more than the files (ledger, account, objects), than the reservations there are (reserved),
    than the ledger (checkpoint); so many more images of a `month` than the ledger (images); of `chain` and `columns` so
    many entries are not as they were written, from `seq` on. `wrong` is the side that is taken to be wrong. Without a
    kind it is of all of them.
    """

    side: Side
    wrong: Wrong
    file_type: str | None
    category: str | None
    bytes: int
    files: int
    seq: int | None
    month: date | None = Field(default=None, exclude_if=lambda month: month is None)

    @classmethod
    def of(cls, found: Difference) -> Self:
        file_type, category = found.kind or (None, None)
        amount = {"bytes": found.amount.bytes, "files": found.amount.files}
        kind = {"file_type": file_type, "category": category}
        return cls(side=found.side, wrong=found.wrong, **kind, **amount, seq=found.seq, month=found.month)


class RepairOut(BaseModel):
    """An entry of the ledger that put something right."""

    seq: int
    file_type: str
    category: str
    delta_bytes: int
    delta_files: int
    reason: str

    @classmethod
    def of(cls, entry: Entry[StorageAdjusted]) -> Self:
        return cls.model_validate({**entry.event.model_dump(), "seq": entry.seq})


class ReconciliationOut(BaseModel):
    """The sides at ledger entry `position`, before anything was repaired. `store` is null where nobody looked into it,
    or not in time. `recounted`, where there are any: months whose images were counted again from the ledger.
    """

    id: UUID
    tenant_id: UUID
    at: datetime
    position: int
    ledger: SideOut
    account: SideOut
    files: SideOut
    store: StoreSideOut | None
    hidden: HiddenOut
    by_category: list[KindSidesOut]
    differences: list[DifferenceOut]
    repaired: list[RepairOut]
    recounted: list[date] = Field(default=[], exclude_if=lambda months: not months)

    @classmethod
    def of(cls, report: Report) -> Self:
        look, objects = report.look, report.objects
        return cls(
            id=report.id,
            tenant_id=report.tenant,
            at=report.at,
            position=look.position,
            ledger=SideOut.of(total(look.ledger)),
            account=SideOut.of(look.account),
            files=SideOut.of(total(look.files)),
            store=None if objects is None else StoreSideOut.found(objects),
            hidden=HiddenOut.model_validate(report.hidden),
            by_category=[_sides(report, kind) for kind in sorted(look.ledger.keys() | look.files.keys())],
            differences=[DifferenceOut.of(found) for found in report.differences],
            repaired=[RepairOut.of(entry) for entry in report.repaired],
            recounted=report.recounted,
        )


def _sides(report: Report, kind: Kind) -> KindSidesOut:
    look, objects = report.look, report.objects
    return KindSidesOut(
        file_type=kind[0],
        category=kind[1],
        ledger=SideOut.of(look.ledger.get(kind, NOTHING)),
        files=SideOut.of(look.files.get(kind, NOTHING)),
        store=None if objects is None else SideOut.of(objects.kinds.get(kind, NOTHING)),
    )
