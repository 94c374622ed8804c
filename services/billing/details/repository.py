"""All SQL on who a team is as a buyer. Runs inside the caller's transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.details.parties import Buyer, language_of

_KEEP_CARD = """
    INSERT INTO tenant_card (tenant_id, name, email, locale) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, email = excluded.email, locale = excluded.locale
"""
_PUT = """
    INSERT INTO billing_details (tenant_id, details, updated_at, updated_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id) DO UPDATE SET details = excluded.details, updated_at = excluded.updated_at,
        updated_by = excluded.updated_by
"""
_FIND = """
    SELECT c.name, c.email, c.locale, d.details, d.updated_at
    FROM (VALUES ($1::uuid)) AS t (id)
    LEFT JOIN tenant_card c ON c.tenant_id = t.id LEFT JOIN billing_details d ON d.tenant_id = t.id
"""


async def keep_card(connection: Any, tenant: UUID, name: str, email: str, locale: str) -> None:
    """What the tenant's newest event says."""
    await connection.execute(_KEEP_CARD, tenant, name, email, locale)


async def forget(connection: Any, tenant: UUID) -> None:
    """What was not made out to it stays nowhere; invoices are kept as the law wants them."""
    await connection.execute("DELETE FROM tenant_card WHERE tenant_id = $1", tenant)
    await connection.execute("DELETE FROM billing_details WHERE tenant_id = $1", tenant)


async def put(connection: Any, tenant: UUID, buyer: Buyer, at: datetime, by: UUID | None) -> None:
    await connection.execute(_PUT, tenant, buyer.model_dump(mode="json"), at, by)


async def get(connection: Any, tenant: UUID) -> tuple[Buyer, datetime | None]:
    """As entered, and when; else as the tenant's events say; else as little as its id."""
    row = await connection.fetchrow(_FIND, tenant)
    if row["details"] is not None:
        return Buyer.model_construct(**row["details"]), row["updated_at"]
    # Built without a check: what the gateway let in as a name is no reason to issue no invoice.
    blank: dict[str, Any] = dict.fromkeys(Buyer.model_fields)
    told = {
        "name": _plain(row["name"] or "") or f"Team {tenant}",
        "email": row["email"],
        "language": language_of(row["locale"] or ""),
    }
    return Buyer.model_construct(**{**blank, **told}), None


def _plain(name: str) -> str:
    """One line; XML has no place for control characters at all."""
    return "".join(sign if sign.isprintable() else " " for sign in name).strip()
