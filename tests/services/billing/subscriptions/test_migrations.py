"""Teams that had a plan before plans had terms: what they are charged from then on is what they bought."""

import asyncio
import json
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from alembic import command

from shared.db.migrate import configuration
from tests.fixtures.postgres import PostgresServer

_PLAN = "INSERT INTO plan (code, version, name, digest, definition) VALUES ($1, 1, $1, 'x', $2)"
_HELD = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at, period_end)
    VALUES ($1, $2, 1, 'active', 1, '{}', now(), now() + interval '30 days')
"""
_PAID = """
    INSERT INTO payment (id, tenant_id, team, amount, currency, method, status, plan, plan_version, return_url,
        created_at, completed_at, next_check_at, provider, purpose, subject)
    VALUES ($1, $2, 'ada', $3, $4, 'credit_card', 'completed', $5, 1, '/', now(), now(), now(), 'external', 'plan', $5)
"""
_TERMS = "SELECT interval, currency, price FROM subscription WHERE tenant_id = $1"
PRICES: dict[str, Any] = {
    "whole": {"price": {"amount": "3", "currency": "EUR", "interval": "month"}},
    "short": {"prices": [{"amount": "3.5", "currency": "EUR", "interval": "month"}]},
    "francs": {"prices": [{"amount": "2000", "currency": "XOF", "interval": "month"}]},
    "many": {
        "prices": [
            {"amount": "3.00", "currency": "EUR", "interval": "month"},
            {"amount": "30.00", "currency": "EUR", "interval": "year"},
            {"amount": "2000", "currency": "XOF", "interval": "month"},
        ]
    },
}
# (plan, what was paid, what it costs from then on)
BOUGHT = [
    ("whole", None, ("month", "EUR", 300)),
    ("short", None, ("month", "EUR", 350)),
    ("francs", None, ("month", "XOF", 2000)),
    ("many", None, ("month", "EUR", 300)),
    ("many", (3000, "EUR"), ("year", "EUR", 3000)),
    ("many", (2000, "XOF"), ("month", "XOF", 2000)),
]
# As 0007 did it when it came out.
_WRONG = """
    UPDATE subscription AS s SET interval = p.price ->> 'interval', currency = p.price ->> 'currency',
        price = replace(p.price ->> 'amount', '.', '')::bigint
    FROM (SELECT code, coalesce(definition -> 'price', definition -> 'prices' -> 0) AS price FROM plan) AS p
    WHERE p.code = s.plan
"""


class Old:
    """A database that was not migrated since 0006, with teams that bought something."""

    def __init__(self, pg: PostgresServer) -> None:
        pg.create("billing")  # and with it the roles
        self.name = f"old_{uuid4().hex}"
        pg._execute(f'CREATE DATABASE "{self.name}" OWNER billing_owner')
        self.owner, self.superuser = pg.dsn(self.name, "billing_owner"), pg.dsn(self.name)

    def migrate(self, revision: str) -> None:
        command.upgrade(configuration("billing", self.owner, "billing_app", "billing_worker"), revision)

    def run(self, sql: str, *values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.superuser)
            try:
                return list(await connection.fetch(sql, *values))
            finally:
                await connection.close()

        return asyncio.run(ask())

    def buy(self) -> list[UUID]:
        for code, prices in PRICES.items():
            self.run(_PLAN, code, json.dumps({"code": code, **prices}))
        teams = [uuid4() for _ in BOUGHT]
        for team, (plan, paid, _) in zip(teams, BOUGHT, strict=True):
            self.run(_HELD, team, plan)
            if paid is not None:
                self.run(_PAID, uuid4(), team, *paid, plan)
        return teams

    def terms(self, teams: list[UUID]) -> list[tuple[Any, ...]]:
        return [tuple(self.run(_TERMS, team)[0]) for team in teams]


@pytest.fixture
def old(pg: PostgresServer) -> Old:
    found = Old(pg)
    found.migrate("0006")
    return found


def test_what_was_bought_before_has_the_price_it_was_bought_at(old: Old) -> None:
    teams = old.buy()
    old.migrate("0007")
    assert old.terms(teams) == [terms for _, _, terms in BOUGHT]


def test_what_0007_once_got_wrong_is_mended(old: Old) -> None:
    teams = old.buy()
    old.migrate("0007")
    old.run(_WRONG)
    assert old.terms(teams) != [terms for _, _, terms in BOUGHT]
    old.migrate("0008")
    assert old.terms(teams) == [terms for _, _, terms in BOUGHT]


_PERIOD = """
    INSERT INTO subscription (tenant_id, plan, plan_version, status, version, entitlements, started_at, period_end,
        interval, currency, price, anchor, period, period_start)
    VALUES ($1, $2, 1, 'active', 1, '{}', now(), now() + interval '30 days', 'month', 'EUR', 300, now(), $3, now())
"""
_PAYMENT = """
    INSERT INTO payment (id, tenant_id, team, amount, currency, method, status, plan, plan_version, return_url,
        created_at, completed_at, next_check_at, provider, purpose, subject)
    SELECT $1, $2, 'ada', 300, 'EUR', 'credit_card', 'completed', $4, CASE WHEN $4::text IS NOT NULL THEN 1 END, '/',
        now(), now() - interval '9 days', now(), 'external', $3, 'x'
"""
_STEP = """
    INSERT INTO payment_transition (tenant_id, payment_id, from_status, to_status, source, at)
    VALUES ($1, $2, $3, $4, 'callback', now())
"""
_ISSUER = "INSERT INTO issuer (code, last) VALUES ('main', 9) ON CONFLICT DO NOTHING"
_INVOICE = """
    INSERT INTO invoice (id, tenant_id, issuer, sequence, number, kind, status, issued_at, due_at, currency, seller,
        buyer, tax_category, net, tax, gross, payment_id)
    VALUES (gen_random_uuid(), $1, 'main', $2, $2::bigint::text, 'invoice', 'paid',
        now() + $2::bigint * interval '1 hour', now(),
        'EUR', '{}', '{}', 'S', 300, 0, 300, $3)
"""
_LINE_OF = """
    INSERT INTO invoice_line (tenant_id, invoice_id, position, description, quantity, unit_price, net, tax_rate, tax)
    SELECT tenant_id, id, 1, 'x', 1, 300, 300, 0, 0 FROM i
"""


class Teams:
    """That bought something before it was written down which payment paid for what."""

    def __init__(self, old: Old) -> None:
        self._old = old
        self._sequence = 0

    def holds(self, plan: str, period: int) -> UUID:
        team = uuid4()
        self._old.run(_PERIOD, team, plan, period)
        return team

    def paid(self, team: UUID, plan: str | None, *steps: str) -> UUID:
        """For a plan, or, without one, for an invoice."""
        payment = uuid4()
        self._old.run(_PAYMENT, payment, team, "plan" if plan else "invoice", plan)
        for before, after in pairwise(("pending", "completed", *steps)):
            self._old.run(_STEP, team, payment, before, after)
        return payment

    def billed(self, team: UUID, payment: UUID | None) -> None:
        self._sequence += 1
        self._old.run(_ISSUER)
        statement = f"WITH i AS ({_INVOICE} RETURNING id, tenant_id) {_LINE_OF}"
        self._old.run(statement, team, self._sequence, payment)


def test_what_paid_for_a_period_is_known_by_its_payment(old: Old) -> None:
    old.buy()
    old.migrate("0011")
    teams = Teams(old)
    expected = dict[UUID, UUID]()
    first = teams.holds("whole", 0)
    teams.paid(first, "short")
    expected[first] = teams.paid(first, "whole")
    renewed = teams.holds("whole", 3)
    teams.paid(renewed, "whole")
    expected[renewed] = teams.paid(renewed, None)
    teams.billed(renewed, expected[renewed])
    late = teams.holds("whole", 0)
    expected[late] = teams.paid(late, "whole", "refunding", "refunded")
    owed = [teams.paid(late, "whole", "refund_due"), teams.paid(late, "whole", "refunded")][:1]
    credited = teams.holds("whole", 2)
    teams.paid(credited, "whole")
    teams.billed(teams.holds("whole", 1), None)
    moved = teams.holds("short", 0)
    teams.paid(moved, "whole")
    unpaid = teams.holds("whole", 2)
    teams.billed(unpaid, teams.paid(unpaid, None))
    teams.billed(unpaid, None)
    old.migrate("0012")
    found = old.run("SELECT tenant_id, payment_id, amount, refunded FROM period_payment")
    assert {row["tenant_id"]: row["payment_id"] for row in found} == expected
    assert {(row["amount"], row["refunded"]) for row in found} == {(300, 0)}
    assert [row["id"] for row in old.run("SELECT id FROM payment WHERE owed = amount")] == owed
