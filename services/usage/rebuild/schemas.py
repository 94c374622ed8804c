from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from services.usage.rebuild.models import Rebuild
from services.usage.rebuild.provider import Books
from services.usage.rebuild.rules import Difference, Part
from services.usage.rebuild.service import Outcome


class FigureOut(BaseModel):
    bytes: int
    files: int


class CounterDifferenceOut(BaseModel):
    """`key`: file type and category of a kind, the id of a project or user; nothing for a total. `trash` and `versions`
    are the tenant's, with an empty key, or those of a kind, project or user, whose key begins with that word. Of
    `images` it is the month (2026-11), and `files` are those that were counted as its images.
    """

    part: Part
    key: list[str]
    ledger: FigureOut
    counters: FigureOut

    @classmethod
    def of(cls, difference: Difference) -> Self:
        return cls.model_validate(difference.document())


class RecalculatedOut(BaseModel):
    """What the ledger's entries sum to beside what was counted. `equal`: there was nothing to put right; otherwise the
    counters are right now. `more`: so many differences are not among those shown. `storage`: the ledger beside upload's
    account, files and store.
    """

    tenant_id: UUID
    entries: int
    equal: bool
    repaired: bool
    differences: list[CounterDifferenceOut]
    more: int
    storage: Books
    as_of: datetime

    @classmethod
    def of(cls, tenant: UUID, books: Books, outcome: Outcome) -> Self:
        done = outcome.done
        return cls(
            tenant_id=tenant,
            entries=done.entries,
            equal=not done.differing,
            repaired=bool(done.repaired),
            differences=[CounterDifferenceOut.of(difference) for difference in outcome.differences],
            more=outcome.more,
            storage=books,
            as_of=done.finished_at,
        )


class RebuildOut(BaseModel):
    """`ahead`: tenants whose ledger ends before their counters; nothing is said of them and nothing done.
    `whole`: ledgers were added up from their first entry on.
    """

    id: UUID
    reason: str
    started_at: datetime
    finished_at: datetime
    seconds: float
    tenants: int
    entries: int
    differing: int
    ahead: int
    repaired: int
    whole: bool

    @classmethod
    def of(cls, done: Rebuild) -> Self:
        seconds = (done.finished_at - done.started_at).total_seconds()
        return cls(**done.model_dump(), seconds=round(seconds, 3))
