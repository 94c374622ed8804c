"""One transaction of commands to one tenant's credits, with their postings and one event. All SQL that writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.billing.credits.books import Books
from services.billing.credits.commands import (
    Add,
    Command,
    Known,
    Release,
    Reservation,
    Reserve,
    Result,
    Settle,
    Spend,
    TakeBack,
    Transaction,
)
from services.billing.credits.rules import Grant, Part
from shared import outbox
from shared.events import CreditsChanged, TrafficBought

TRAFFIC = "traffic_gb"  # what this use buys goes to whoever counts traffic
GB = 1024**3

FIRST = 50  # grants looked at; more where they do not hold what is asked for

_LOCK = "SELECT * FROM credit_account WHERE tenant_id = $1 FOR UPDATE"
_OPEN = "INSERT INTO credit_account (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING"

# Read after the lock: a snapshot taken while waiting for it would be old. The worker sees everybody's rows, so the
# tenant is always named.
_BURNING = """
    SELECT id, source, amount, remaining, priority, expires_at, created_at FROM credit_grant
    WHERE tenant_id = $1 AND NOT exhausted AND (expires_at IS NULL OR expires_at > $2)
    ORDER BY priority, expires_at, created_at, id LIMIT $3
"""
_OVER = """
    SELECT id, source, amount, remaining, priority, expires_at, created_at FROM credit_grant
    WHERE tenant_id = $1 AND (id = ANY($3::uuid[]) OR NOT exhausted AND expires_at <= $2)
"""
_RESERVATIONS = """
    SELECT id, use, quantity, cost, holds, status, settled, created_at, expires_at, closed_at FROM credit_reservation
    WHERE tenant_id = $1 AND (id = ANY($2::uuid[]) OR status = 'open' AND expires_at <= $3)
"""
_DONE = """
    SELECT seq, id, type, amount, at, available_after, reserved_after, key, said, source, use, quantity, subject,
        description, by
    FROM credit_transaction WHERE tenant_id = $1 AND key = ANY($2::text[])
"""
# One statement: the trigger on the postings runs after all of it.
_WRITE = """
    WITH granted AS (
        INSERT INTO credit_grant (id, tenant_id, source, amount, priority, expires_at, description, created_at)
        SELECT id, $1, source, amount, priority, expires_at, description, created_at
        FROM jsonb_populate_recordset(NULL::credit_grant, $2)
    ), kept AS (
        INSERT INTO credit_reservation (id, tenant_id, use, quantity, cost, holds, status, settled, created_at,
            expires_at, closed_at)
        SELECT id, $1, use, quantity, cost, holds, status, settled, created_at, expires_at, closed_at
        FROM jsonb_populate_recordset(NULL::credit_reservation, $3)
        ON CONFLICT (id) DO UPDATE SET status = excluded.status, settled = excluded.settled,
            closed_at = excluded.closed_at
    ), written AS (
        INSERT INTO credit_transaction (tenant_id, seq, id, type, key, said, source, use, quantity, amount, subject,
            description, by, at, available_after, reserved_after)
        SELECT $1, seq, id, type, key, said, source, use, quantity, amount, subject, description, by, at,
            available_after, reserved_after
        FROM jsonb_populate_recordset(NULL::credit_transaction, $4)
    ), noted AS (
        UPDATE credit_account SET last_at = $6, month = $7, spent_month = $8 WHERE tenant_id = $1
    )
    INSERT INTO credit_posting (tenant_id, seq, grant_id, account, amount)
    SELECT $1, * FROM jsonb_to_recordset($5) AS p(seq bigint, grant_id uuid, account text, amount bigint)
"""
_TIMEZONE = """
    INSERT INTO credit_account AS a (tenant_id, timezone) VALUES ($1, $2)
    ON CONFLICT (tenant_id) DO UPDATE SET timezone = excluded.timezone WHERE a.timezone <> excluded.timezone
"""
_DUE = """
    SELECT tenant_id FROM credit_grant WHERE NOT exhausted AND expires_at <= $1
    UNION SELECT tenant_id FROM credit_reservation WHERE status = 'open' AND expires_at <= $1
    LIMIT 1000
"""
# A team is known by its event, or because it asked.
_IS_KNOWN = """
    SELECT EXISTS (SELECT FROM credit_account WHERE tenant_id = $1)
        OR EXISTS (SELECT FROM subscription WHERE tenant_id = $1)
"""


async def lock(connection: Any, tenant: UUID) -> Any:
    """The account's row, the caller's until the commit: whoever holds it decides for the tenant alone."""
    row = await connection.fetchrow(_LOCK, tenant)
    if row is None:
        await connection.execute(_OPEN, tenant)
        row = await connection.fetchrow(_LOCK, tenant)
    return row


async def commit_batch(connection: Any, tenant: UUID, commands: Sequence[Command], now: datetime) -> list[Result]:
    """Everything of one batch inside the caller's transaction.

    The caller must not hold the head of `billing.v1` yet: here it is locked after the account.
    """
    account = await lock(connection, tenant)
    now = max(now, account["last_at"])
    books = Books(await _read(connection, tenant, account, commands, now), now)
    results = [books.apply(command) for command in commands]
    if books.transactions:
        await _write(connection, tenant, account, books)
    return results


async def set_timezone(connection: Any, tenant: UUID, timezone: str) -> None:
    await connection.execute(_TIMEZONE, tenant, timezone)


async def list_due(connection: Any, now: datetime) -> list[UUID]:
    """Tenants with grants or reservations that are over."""
    return [row["tenant_id"] for row in await connection.fetch(_DUE, now)]


async def is_known(connection: Any, tenant: UUID) -> bool:
    return bool(await connection.fetchval(_IS_KNOWN, tenant))


async def _read(connection: Any, tenant: UUID, account: Any, commands: Sequence[Command], now: datetime) -> Known:
    known = Known(account["available"], account["reserved"], account["seq"])
    keys = [command.key for command in commands if isinstance(command, Add | Spend | Reserve | TakeBack)]
    if keys:
        known.done = {row["key"]: Transaction(**row) for row in await connection.fetch(_DONE, tenant, keys)}
    named = [command.reservation for command in commands if isinstance(command, Settle | Release)]
    named += [done.subject for done in known.done.values() if done.type == "reserve" and done.subject is not None]
    if named or account["reserved"]:
        for row in await connection.fetch(_RESERVATIONS, tenant, named, now):
            known.reservations[row["id"]] = _reservation(row)
    known.due = [r.id for r in known.reservations.values() if r.status == "open" and r.expires_at <= now]
    asked_of = {command.grant for command in commands if isinstance(command, TakeBack)}
    held = asked_of | {part.grant for reservation in known.reservations.values() for part in reservation.holds}
    grants = {row["id"]: Grant(**row) for row in await connection.fetch(_OVER, tenant, now, list(held))}
    asked = sum(command.quantity * command.cost for command in commands if isinstance(command, Spend | Reserve))
    grants |= {grant.id: grant for grant in await _burning(connection, tenant, asked, now)}
    known.grants = list(grants.values())
    return known


async def _burning(connection: Any, tenant: UUID, asked: int, now: datetime) -> list[Grant]:
    """As many, in burn order, as hold what is asked for."""
    wanted, found = FIRST, list[Grant]()
    while asked:
        found = [Grant(**row) for row in await connection.fetch(_BURNING, tenant, now, wanted)]
        if len(found) < wanted or sum(grant.remaining for grant in found) >= asked:
            break
        wanted *= 10
    return found


async def _write(connection: Any, tenant: UUID, account: Any, books: Books) -> None:
    # Never back to a month that is over, though the tenant moves to another time zone.
    month = max(account["month"], f"{books.now.astimezone(ZoneInfo(account['timezone'])):%Y-%m}")
    spent = books.spent + (account["spent_month"] if month == account["month"] else 0)
    grants = [{**_columns(grant), "description": description} for grant, description in books.granted]
    transactions = [_columns(done) for done in books.transactions]
    postings = [
        {"seq": done.seq, "grant_id": str(p.grant), "account": p.account, "amount": p.amount}
        for done in books.transactions
        for p in done.postings
    ]
    kept = [_held(held) for held in books.touched.values()]
    await connection.execute(_WRITE, tenant, grants, kept, transactions, postings, books.now, month, spent)
    event = CreditsChanged(tenant_id=tenant, balance=books.available, spent_month=spent, month=month, at=books.now)
    await outbox.append(connection, [event, *_bought(tenant, month, books)], at=books.now)


def _bought(tenant: UUID, month: str, books: Books) -> list[TrafficBought]:
    """Whichever way it was paid for."""
    return [
        TrafficBought(
            tenant_id=tenant,
            transaction_id=done.id,
            bytes=done.quantity * GB,
            credits=sum(posting.amount for posting in done.postings if posting.account == "spent"),
            month=month,
            at=books.now,
        )
        for done in books.transactions
        if done.use == TRAFFIC and done.quantity and done.type in ("spend", "settle")
    ]


def _columns(row: Grant | Reservation | Transaction) -> dict[str, Any]:
    """As JSON; the driver's UUIDs are of a class of their own, which orjson does not know."""
    values = ((name, getattr(row, name)) for name in row.__slots__ if name not in ("postings", "holds"))
    return {name: str(value) if isinstance(value, UUID) else value for name, value in values}


def _held(held: Reservation) -> dict[str, Any]:
    return {**_columns(held), "holds": [{"grant": str(p.grant), "amount": p.amount} for p in held.holds]}


def _reservation(row: Any) -> Reservation:
    holds = [Part(UUID(part["grant"]), part["amount"]) for part in row["holds"]]
    return Reservation(**{**row, "holds": holds})
