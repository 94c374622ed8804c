"""Grants, spends, reservations, refunds and expiry in any order and any batches, held against credits on paper."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.billing.credits import repository
from services.billing.credits.commands import Add, Command, Release, Reserve, Result, Settle, Spend, Sweep
from services.billing.credits.rules import Source
from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.services.billing.credits.account import Account, opened
from tests.services.billing.credits.model import Paper

SOURCES: list[Source] = ["purchase", "ad_reward", "system_bonus", "refund"]
QUARTERS = st.integers(1, 30).map(lambda n: timedelta(hours=6 * n))

adds = st.tuples(st.just("add"), st.integers(1, 12), st.sampled_from(SOURCES), st.integers(0, 2), st.none() | QUARTERS)
spends = st.tuples(st.just("spend"), st.integers(1, 9), st.integers(1, 2))
reserves = st.tuples(st.just("reserve"), st.integers(1, 6), st.integers(1, 2), QUARTERS)
ends = st.tuples(st.sampled_from(["settle", "release"]), st.integers(0, 30), st.integers(1, 6))
others = st.tuples(st.sampled_from(["sweep", "again"]), st.integers(0, 30))
steps = st.tuples(
    st.sampled_from([0, 0, 1, 6, 24]).map(lambda n: timedelta(hours=n)),
    st.lists(st.one_of(adds, adds, spends, spends, reserves, ends, others), min_size=1, max_size=6),
)

BALANCED = """
    SELECT (SELECT count(*) FROM (
            SELECT FROM credit_posting GROUP BY seq, grant_id HAVING sum(amount) <> 0
        ) AS x) AS unbalanced,
        coalesce(sum(amount) FILTER (WHERE account = 'available'), 0) AS available,
        coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0) AS reserved,
        coalesce(sum(amount) FILTER (WHERE account = 'spent'), 0) AS spent,
        coalesce(sum(amount) FILTER (WHERE account = 'expired'), 0) AS expired
    FROM credit_posting
"""
RUNNING = """
    SELECT t.seq, t.available_after, t.reserved_after, t.amount,
        sum(p.available) OVER (ORDER BY t.seq) AS available, sum(p.reserved) OVER (ORDER BY t.seq) AS reserved
    FROM credit_transaction AS t CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount) FILTER (WHERE account = 'available'), 0) AS available,
            coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0) AS reserved
        FROM credit_posting AS p WHERE p.tenant_id = t.tenant_id AND p.seq = t.seq
    ) AS p ORDER BY t.seq
"""


def commanded(step: Any, given: list[Command], now: datetime) -> Command:  # noqa: PLR0911 - one for each step
    key = uuid4().hex
    held = [command.id for command in given if isinstance(command, Reserve)]
    match step:
        case "add", amount, source, priority, lasts:
            said = {"n": key}
            return Add(key, said, source, amount, "x", "x", priority, None if lasts is None else now + lasts)
        case "spend", quantity, cost:
            return Spend(key, "image", quantity, cost, "x")
        case "reserve", quantity, cost, lifetime:
            return Reserve(key, "image", quantity, cost, "x", lifetime)
        case "settle", number, quantity:
            return Settle(held[number % len(held)] if held else uuid4(), quantity, "x")
        case "release", number, _:
            return Release(held[number % len(held)] if held else uuid4(), "x")
        case "again", number if given:
            before: Command = given[number % len(given)]
            return before
    return Sweep()


def outcome(result: Result) -> str:
    for name in ("missing", "unknown", "closed", "repeated"):
        if getattr(result, name):
            return name
    assert not result.reused
    return "done"


@pytest.fixture(scope="module")
def database(pg: PostgresServer) -> ServiceDatabase:
    return pg.create("billing")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(story=st.lists(steps, min_size=1, max_size=12))
def test_books_and_paper_agree(database: ServiceDatabase, story: list[Any]) -> None:
    asyncio.run(play(database, story))


async def play(database: ServiceDatabase, story: list[Any]) -> None:
    paper, said, marks = Paper(), list[Command](), list[datetime]()
    async with opened(database, pool_size=2) as account:
        for pause, batch in story:
            account.clock.advance(pause)
            marks.append(account.clock.now())
            commands = list[Command]()
            for step in batch:
                commands.append(commanded(step, said, account.clock.now()))
                said.append(commands[-1])
            expected = expect(paper, commands, account.clock.now())
            async with account.database.transaction(account.tenant) as connection:
                now = account.clock.now()
                results = await repository.commit_batch(connection, account.tenant, commands, now)
            assert [outcome(result) for result in results] == expected
            await agree(account, paper)
        await statements_agree(account, marks)


def expect(paper: Paper, commands: list[Command], now: datetime) -> list[str]:
    paper.sweep(now)
    return [paper.apply(command, now) for command in commands]


async def agree(account: Account, paper: Paper) -> None:
    (row,) = await account.rows("SELECT * FROM credit_account")
    held = sum(len(credits_) for _, _, credits_ in paper.held.values())
    told = {name: row[name] for name in ("available", "reserved", "spent", "expired")}
    assert told == {
        "available": sum(paper.grants.values()),
        "reserved": held,
        "spent": paper.spent,
        "expired": paper.expired,
    }
    (sums,) = await account.rows(BALANCED)
    assert dict(sums) == {**told, "unbalanced": 0}
    left: dict[UUID, int] = {r["id"]: r["remaining"] for r in await account.rows("SELECT * FROM credit_grant")}
    assert left == paper.grants
    before = 0
    for number, line in enumerate(await account.rows(RUNNING), 1):
        assert line["seq"] == number
        assert (line["available_after"], line["reserved_after"]) == (line["available"], line["reserved"])
        assert line["available_after"] - before == line["amount"]
        before = line["available_after"]


async def statements_agree(account: Account, marks: list[datetime]) -> None:
    marks = [*sorted(set(marks)), marks[-1] + timedelta(seconds=1)]
    account.clock.advance(timedelta(days=1))
    told = [await account.balance.statement(account.tenant, *pair) for pair in pairwise(marks)]
    for one in told:
        assert one.opening + sum(one.granted.values()) - one.spent - one.expired - one.reserved == one.closing
    for one, following in pairwise(told):
        assert (one.closing, one.closing_reserved) == (following.opening, following.opening_reserved)
    assert (told[0].opening, told[-1].position) == (0, sum(one.transactions for one in told))
