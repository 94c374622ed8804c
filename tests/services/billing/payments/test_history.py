"""A team's payments by what it looks for, and as a file."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from shared.security import sign
from tests.fixtures.postgres import query
from tests.services.billing.door import SECRET
from tests.services.billing.world import Team, World, told


@pytest.fixture
async def team(world: World) -> Team:
    """With a card that failed, mobile money that was cancelled and a card that is open."""
    team = Team()
    for status, method in (("failed", "credit_card"), ("cancelled", "mobile_money")):
        _, payment = await world.initiate(team, method=method)
        await world.callback(told(payment, status))
        await world.until(team, payment, lambda p, s=status: p["status"] == s)  # type: ignore[misc]
    await world.started(team)
    return team


async def found(world: World, team: Team, asked: str) -> Any:
    status, body = await world.call("GET", f"/api/payments/ada/history{asked}", who=team.principal)
    return [item["status"] for item in body["items"]] if status == 200 else (status, body["code"])


async def test_filters(world: World, team: Team) -> None:
    assert await found(world, team, "") == ["pending", "cancelled", "failed"]
    assert await found(world, team, "?status=failed") == ["failed"]
    assert await found(world, team, "?method=mobile_money") == ["cancelled"]
    assert await found(world, team, "?purpose=plan&limit=1") == ["pending"]
    assert await found(world, team, "?purpose=credits") == []
    assert await found(world, team, "?method=credit_card&status=cancelled") == []
    now = quote(datetime.now(UTC).isoformat())
    before = quote((datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert await found(world, team, f"?from={before}&to={now}") == ["pending", "cancelled", "failed"]
    assert await found(world, team, f"?from={now}") == await found(world, team, f"?to={before}") == []
    for bad in ("?status=paid", "?from=yesterday", "?from=2026-01-01T00:00:00", "?format=xml"):
        assert await found(world, team, bad) == (422, "invalid_request")


async def test_as_a_file_that_runs_no_formula(world: World, team: Team) -> None:
    await query(world.dsn.worker, "UPDATE payment SET external_id = '=cmd|x' WHERE status = 'failed'")
    headers = {"stowage-internal": sign(team.principal, secret=SECRET, audience="billing", issuer="gateway")}
    async with world.http.get(f"{world.url}/api/payments/ada/history?format=csv", headers=headers) as answer:
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [(row["status"], row["amount"], row["currency"], row["purpose"]) for row in rows] == [
        ("pending", "3.00", "EUR", "plan"),
        ("cancelled", "3.00", "EUR", "plan"),
        ("failed", "3.00", "EUR", "plan"),
    ]
    assert rows[2]["external_payment_id"] == "'=cmd|x"
