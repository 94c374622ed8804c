import asyncio

import pytest

from services.usage.counters.tally import Amount
from services.usage.errors import LedgerUnreachable, ProofUnsettled
from services.usage.proof import service
from services.usage.proof.rules import Line, holds, lines
from shared.db import Database
from tests.services.usage.parts import Parts, parts
from tests.services.usage.samples import TENANT, granted, stored


@pytest.fixture
async def usage(app_db: Database, worker_db: Database) -> Parts:
    made = parts(app_db, worker_db)
    await made.apply(granted(1, 100), stored(1, 10), stored(2, 10), stored(3, 10))
    return made


async def test_three_sums_agree(usage: Parts) -> None:
    proof = await usage.proof.prove(TENANT)
    assert proof.equal
    assert proof.position == 3
    assert proof.ledger == proof.counters
    assert (proof.store.bytes, proof.store.files) == (30, 3)
    assert [(line.category, line.equal) for line in proof.by_category] == [("avatars", True)]
    assert usage.ledger.asked == [3], "asked at the counters' own position"


async def test_a_file_missing_in_the_store_is_said(usage: Parts) -> None:
    usage.ledger.lost = 1
    proof = await usage.proof.prove(TENANT)
    assert not proof.equal
    assert proof.store.missing == ["file-0"]


async def test_a_ledger_that_disagrees_is_said_per_category(usage: Parts) -> None:
    usage.ledger.recount = 1
    proof = await usage.proof.prove(TENANT)
    assert not proof.equal
    assert [line.equal for line in proof.by_category] == [False]


async def test_without_the_ledger_nothing_is_claimed(usage: Parts) -> None:
    usage.ledger.reachable = False
    with pytest.raises(LedgerUnreachable):
        await usage.proof.prove(TENANT)


async def test_a_store_that_is_ahead_is_waited_for(usage: Parts) -> None:
    usage.ledger.head = 4
    listening = asyncio.create_task(usage.changes.run())
    proving = asyncio.create_task(usage.proof.prove(TENANT))
    await asyncio.sleep(0.2)
    await usage.apply(stored(4, 10))
    proof = await proving
    listening.cancel()
    assert (proof.position, proof.equal) == (4, True)


async def test_a_store_never_seen_at_the_same_position_is_no_proof(
    usage: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.3)
    usage.ledger.head = 4
    with pytest.raises(ProofUnsettled):
        await usage.proof.prove(TENANT)


def test_a_kind_without_files_is_the_same_as_none() -> None:
    assert lines({("image", "a"): Amount()}, {}) == []
    assert lines({("image", "a"): Amount(1, 1)}, {}) == [Line(("image", "a"), Amount(1, 1), Amount())]


def test_equal_totals_of_unequal_kinds_do_not_hold() -> None:
    kinds = lines({("image", "a"): Amount(1, 1)}, {("image", "b"): Amount(1, 1)})
    assert not holds([Amount(1, 1), Amount(1, 1)], kinds, 0)
