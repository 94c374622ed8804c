"""Figures over all teams, from functions that tell nothing of any one of them. Runs inside the caller's transaction."""

from datetime import datetime
from typing import Any

from services.billing.metrics.rules import MethodPayments, Part
from shared.money import Money


async def conversion(connection: Any, since: datetime, to: datetime) -> Part:
    row = await connection.fetchrow("SELECT converted, candidates FROM metric_conversion($1, $2)", since, to)
    return Part(*row)


async def payments(connection: Any, since: datetime, to: datetime) -> list[MethodPayments]:
    sql = "SELECT method, completed, failed, cancelled, open FROM metric_payments($1, $2) ORDER BY method"
    return [MethodPayments(*row) for row in await connection.fetch(sql, since, to)]


async def recurring(connection: Any, at: datetime) -> list[tuple[Money, int]]:
    """What comes in a month, and of how many teams, by currency."""
    sql = "SELECT amount, currency, teams FROM metric_recurring($1) ORDER BY currency"
    return [(Money(row["amount"], row["currency"]), row["teams"]) for row in await connection.fetch(sql, at)]


async def churn(connection: Any, since: datetime, to: datetime) -> Part:
    return Part(*await connection.fetchrow("SELECT lost, paying FROM metric_churn($1, $2)", since, to))
