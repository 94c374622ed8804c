"""What is promised of credits, against a real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest

from services.billing.credits import packs
from services.billing.credits.catalogue import load_credits
from services.billing.credits.commands import Add
from services.billing.credits.errors import (
    ClientIdReused,
    CreditsInsufficient,
    ReservationClosed,
    ReservationNotFound,
    SettledTooMuch,
    TenantNotFound,
    UseUnknown,
)
from services.billing.credits.repository import commit_batch
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.credits.account import BEGIN, Account, opened

PAID = """
    SELECT g.description, g.source, p.amount FROM credit_posting AS p JOIN credit_grant AS g ON g.id = p.grant_id
    WHERE p.account = 'spent' ORDER BY p.seq, g.priority, g.expires_at, g.created_at, g.id
"""


async def test_the_statement_s_sums_and_who_paid(account: Account) -> None:
    """Priority first, then what expires first, then age; the history says which grant paid."""
    service, tenant = account.service, account.tenant
    for name, days in [("never, old", None), ("late", 20), ("soon", 10), ("never, new", None)]:
        expires_at = None if days is None else BEGIN + timedelta(days=days)
        await service.add(tenant, 10, "refund", name, client_id=name, by="x", expires_at=expires_at)
        account.clock.advance(timedelta(seconds=1))
    async with account.database.transaction(tenant) as connection:
        await packs.register(connection, load_credits())
        await packs.fulfil(connection, tenant, uuid4(), "small", 1, now=account.clock.now())
    await account.spend(15)
    await account.spend(30)
    paid = [(row["description"], row["amount"]) for row in await account.rows(PAID)]
    assert paid == [
        ("soon", 10),
        ("late", 5),
        ("late", 5),
        ("never, old", 10),
        ("never, new", 10),
        ("100 credits", 5),
    ]
    assert await account.amount() == 95


async def test_not_enough_changes_nothing(account: Account) -> None:
    await account.add(3)
    with pytest.raises(CreditsInsufficient) as refused:
        await account.spend(5)
    assert (refused.value.status, refused.value.extras) == (402, {"balance": 3, "missing": 2})
    with pytest.raises(CreditsInsufficient):
        await account.reserve(4)
    assert await account.amount() == 3
    await account.spend(3)


async def test_what_is_held_is_settled_in_part_and_the_rest_comes_back(account: Account) -> None:
    await account.add(4, days=1)
    await account.add(10)
    held = await account.reserve(6)
    found = await account.balance.now(account.tenant)
    assert (found.balance, found.reserved) == (8, 6)
    await account.settle(held, 3)
    found = await account.balance.now(account.tenant)
    assert (found.balance, found.reserved, found.spent) == (11, 0, 3)
    assert [grant["remaining"] for grant in found.grants] == [1, 10]
    again = await account.settle(held, 3)
    assert again.repeated
    with pytest.raises(ReservationClosed):
        await account.settle(held, 2)
    with pytest.raises(ReservationClosed):
        await account.release(held)
    with pytest.raises(SettledTooMuch):
        await account.settle(await account.reserve(1), 2)
    with pytest.raises(ReservationNotFound):
        await account.service.release(account.tenant, uuid4(), by="x")


async def test_a_crash_between_reserve_and_settle_costs_nothing(account: Account) -> None:
    await account.add(5)
    held = await account.reserve(5, 60)
    with pytest.raises(CreditsInsufficient):
        await account.spend(1)
    account.clock.advance(timedelta(seconds=60))
    await account.spend(5)  # nothing is refused for the sake of what died, though no job has run
    with pytest.raises(ReservationClosed):
        await account.settle(held)
    assert await account.amount() == 0


async def test_what_expires_is_gone_at_that_moment(account: Account, billing_db: ServiceDatabase) -> None:
    await account.add(5, days=1)
    held = await account.reserve(2)
    account.clock.advance(timedelta(days=1))
    with pytest.raises(CreditsInsufficient):
        await account.spend(1)
    found = await account.balance.now(account.tenant)
    assert (found.balance, found.reserved, found.expired) == (0, 0, 5)  # what was held expired with its reservation
    with pytest.raises(ReservationClosed):
        await account.settle(held)
    await account.add(7, days=1)
    held = await account.reserve(3, 2 * 86400)
    account.clock.advance(timedelta(days=1))
    async with opened(replace(billing_db, app=billing_db.worker)) as worker:
        worker.clock.advance(timedelta(days=2))
        assert await worker.service.sweep_due() == 1
        assert await worker.service.sweep_due() == 0
    found = await account.balance.now(account.tenant)
    assert (found.balance, found.reserved, found.expired) == (0, 3, 9)
    await account.settle(held, 1)  # held before it expired; what is not used is lost with its grant
    found = await account.balance.now(account.tenant)
    assert (found.balance, found.reserved, found.spent, found.expired) == (0, 0, 1, 11)


async def test_one_team_that_cannot_be_swept_keeps_no_other_waiting(
    account: Account, billing_db: ServiceDatabase
) -> None:
    teams = [account.tenant, uuid4(), uuid4()]
    for account.tenant in teams:
        await account.open()
        await account.add(5, days=1)
    broken = teams[1]
    await query(
        billing_db.superuser,
        f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.tenant_id = '{broken}' THEN RAISE EXCEPTION 'nobody thought of that'; END IF;
            RETURN NEW;
        END $$
        """,
    )
    await query(
        billing_db.superuser,
        "CREATE TRIGGER fail BEFORE INSERT ON credit_transaction FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    async with opened(replace(billing_db, app=billing_db.worker)) as worker:
        worker.clock.advance(timedelta(days=2))
        assert await worker.service.sweep_due() == 3
        assert await worker.service.sweep_due() == 1, "it is due again, the others are not"
    rows = await query(billing_db.superuser, "SELECT tenant_id FROM credit_grant WHERE remaining > 0")
    assert [row["tenant_id"] for row in rows] == [broken]


async def test_the_same_client_id_once(account: Account) -> None:
    for amount in (5, 5):
        await account.add(amount, client_id="a")
        await account.spend(2, client_id="a")
        held = await account.reserve(1, client_id="a")
    assert held.repeated
    assert await account.amount() == 2
    for other in (account.add(6, client_id="a"), account.spend(1, client_id="a"), account.reserve(2, client_id="a")):
        with pytest.raises(ClientIdReused):
            await other
    done = await asyncio.gather(*(account.spend(1, client_id="b") for _ in range(20)))
    assert sum(not result.repeated for result in done) == 1
    assert await account.amount() == 1


async def test_many_small_grants_pay_one_large_spend(account: Account) -> None:
    commands = [Add(f"n{n}", {}, "ad_reward", 1, "x", "x", 20) for n in range(130)]
    async with account.database.transaction(account.tenant) as connection:
        await commit_batch(connection, account.tenant, commands, account.clock.now())
    assert len(await account.rows("SELECT FROM credit_posting")) == 260
    await account.spend(120)
    with pytest.raises(CreditsInsufficient):
        await account.spend(11)
    await account.spend(10)


async def test_a_payment_is_fulfilled_once(account: Account) -> None:
    payment = uuid4()

    async def fulfil() -> bool:
        async with account.database.transaction(account.tenant) as connection:
            done = await packs.fulfil(connection, account.tenant, payment, "medium", 1, now=account.clock.now())
            return done.repeated

    async with account.database.transaction() as connection:
        await packs.register(connection, load_credits())
    assert sorted(await asyncio.gather(*(fulfil() for _ in range(5)))) == [False, True, True, True, True]
    assert await account.amount() == 500
    with pytest.raises(LookupError):
        async with account.database.transaction(account.tenant) as connection:
            await packs.fulfil(connection, account.tenant, uuid4(), "medium", 9, now=account.clock.now())
    with pytest.raises(ValueError, match="another pack"):
        async with account.database.transaction(account.tenant) as connection:
            await packs.fulfil(connection, account.tenant, payment, "small", 1, now=account.clock.now())


async def test_who_is_not_there_gets_nothing(account: Account) -> None:
    with pytest.raises(TenantNotFound):
        await account.service.add(uuid4(), 1, "refund", "x", client_id="x", by="x")
    with pytest.raises(UseUnknown):
        await account.service.spend(account.tenant, "yacht", 1, client_id="x", by="x")


async def test_one_period_ends_where_the_next_begins(account: Account) -> None:
    marks = [account.clock.now()]
    for step in range(6):
        await account.add(5, "ad_reward" if step % 2 else "purchase", days=2)
        held = await account.reserve(2, 86400 * 2)
        await account.spend(1)
        if step % 2:
            await account.settle(held, 1)
        account.clock.advance(timedelta(days=1))
        marks.append(account.clock.now())
    told = [await account.balance.statement(account.tenant, *pair) for pair in pairwise(marks)]
    for before, after in pairwise(told):
        assert (before.closing, before.closing_reserved) == (after.opening, after.opening_reserved)
    for one in told:
        assert one.opening + sum(one.granted.values()) - one.spent - one.expired - one.reserved == one.closing
    whole = await account.balance.statement(account.tenant, marks[0], marks[-1])
    assert (whole.opening, whole.closing) == (0, told[-1].closing)
    assert whole.granted == {"purchase": 15, "ad_reward": 15, "system_bonus": 0, "refund": 0}
    for mark in marks:
        sql = """
            SELECT coalesce(sum(p.amount), 0) FROM credit_posting AS p
            JOIN credit_transaction AS t USING (tenant_id, seq)
            WHERE p.account = 'available' AND t.at < $1
        """
        one = await account.balance.statement(account.tenant, marks[0] - timedelta(days=9), mark)
        assert one.closing == (await account.rows(sql, mark))[0][0]


async def test_each_commit_is_one_event(account: Account) -> None:
    await account.add(10)
    await asyncio.gather(*(account.spend(1) for _ in range(6)))
    account.clock.advance(timedelta(days=31))
    await account.spend(1)
    rows = await account.rows("SELECT body FROM outbox_event WHERE type = 'credits.changed' ORDER BY seq")
    told = [orjson.loads(row["body"]) for row in rows]
    assert len(told) <= 4  # the first of six, then all that waited
    seen = [(body["balance"], body["spent_month"], body["month"]) for body in told]
    assert (seen[0], seen[-2], seen[-1]) == ((10, 0, "2026-03"), (4, 6, "2026-03"), (3, 1, "2026-04"))


BROKEN = [
    ("sum to zero", [("available", -5), ("spent", 4)], asyncpg.CheckViolationError),
    ("one side only", [("available", -5)], asyncpg.CheckViolationError),
    ("below nothing", [("available", -11), ("spent", 11)], asyncpg.CheckViolationError),
    ("more than was granted", [("available", 1), ("purchase", -1)], asyncpg.CheckViolationError),
    ("no such account", [("available", -1), ("pocket", 1)], asyncpg.CheckViolationError),
]
POSTING = """
    INSERT INTO credit_posting (tenant_id, seq, grant_id, account, amount)
    SELECT $1, $2, $3, * FROM unnest($4::text[], $5::bigint[])
"""
TRANSACTION = """
    INSERT INTO credit_transaction (tenant_id, seq, id, type, amount, at, available_after, reserved_after)
    VALUES ($1, $2, $3, 'spend', 0, now(), 0, 0)
"""


@pytest.mark.parametrize(("_what", "postings", "error"), BROKEN)
async def test_the_database_refuses_books_that_do_not_balance(
    account: Account, _what: str, postings: list[tuple[str, int]], error: type[Exception]
) -> None:
    """Raw SQL with the role the process has."""
    grant = (await account.add(10)).transaction
    assert grant is not None
    with pytest.raises(error):
        async with account.database.transaction(account.tenant) as connection:
            await connection.execute(TRANSACTION, account.tenant, 2, uuid4())
            await connection.execute(POSTING, account.tenant, 2, grant.subject, *map(list, zip(*postings, strict=True)))
    assert await account.amount() == 10


async def test_the_database_keeps_its_books_to_itself(account: Account, billing_db: ServiceDatabase) -> None:
    done = (await account.add(10)).transaction
    assert done is not None
    tenant, grant = account.tenant, done.subject
    forged: list[tuple[str, list[Any], type[Exception]]] = [
        ("UPDATE credit_account SET available = 99", [], asyncpg.InsufficientPrivilegeError),
        ("UPDATE credit_grant SET remaining = 9", [], asyncpg.InsufficientPrivilegeError),
        ("DELETE FROM credit_account", [], asyncpg.InsufficientPrivilegeError),
        ("DELETE FROM credit_grant", [], asyncpg.InsufficientPrivilegeError),
        ("UPDATE credit_posting SET amount = 1", [], asyncpg.InsufficientPrivilegeError),
        ("DELETE FROM credit_transaction", [], asyncpg.InsufficientPrivilegeError),
        ("ALTER TABLE credit_posting DISABLE TRIGGER ALL", [], asyncpg.InsufficientPrivilegeError),
        ("SET session_replication_role = replica", [], asyncpg.InsufficientPrivilegeError),
        # Added to a transaction that is over, after a gap, and of somebody else's grant.
        (POSTING, [tenant, 1, grant, ["available", "expired"], [-1, 1]], asyncpg.IntegrityConstraintViolationError),
        (POSTING, [tenant, 3, grant, ["available", "expired"], [-1, 1]], asyncpg.IntegrityConstraintViolationError),
        (POSTING, [tenant, 2, uuid4(), ["spent", "expired"], [-1, 1]], asyncpg.IntegrityConstraintViolationError),
    ]
    for role in (billing_db.app, billing_db.worker):
        for sql, values, error in forged:
            connection: Any = await asyncpg.connect(role)
            try:
                with pytest.raises(error):
                    async with connection.transaction():
                        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
                        await connection.execute(sql, *values)
                        raise AssertionError(sql)
            finally:
                await connection.close()
    assert await account.amount() == 10
    rows = await query(billing_db.worker, "SELECT count(*) FROM credit_posting")
    assert rows[0][0] == 2


async def test_a_strangers_credits_do_not_exist(account: Account, billing_db: ServiceDatabase) -> None:
    await account.add(10)
    held = await account.reserve(1)
    mine, account.tenant = account.tenant, uuid4()
    assert await account.amount() == 0
    with pytest.raises(ReservationNotFound):
        await account.release(held)
    for table in ("credit_account", "credit_grant", "credit_reservation", "credit_transaction", "credit_posting"):
        assert not await account.rows(f"SELECT FROM {table} WHERE tenant_id = $1", mine)
        assert await query(billing_db.app, f"SELECT FROM {table}") == []
