"""The catalogue's versions in the database."""

from typing import Any

from services.billing.catalogue.loader import Catalogue, CatalogueError, Plan

_KNOWN = "SELECT digest FROM plan WHERE code = $1 AND version = $2"
_INSERT = """
    INSERT INTO plan (code, version, name, digest, definition) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_FIND = "SELECT definition FROM plan WHERE code = $1 AND version = $2"


async def register(connection: Any, catalogue: Catalogue) -> None:
    """Raises CatalogueError when a version that was sold says something else now."""
    for plan in catalogue.plans.values():
        await connection.execute(_INSERT, plan.code, plan.version, plan.name, plan.digest, plan.model_dump(mode="json"))
        if await connection.fetchval(_KNOWN, plan.code, plan.version) != plan.digest:
            raise CatalogueError(f"plan {plan.code} version {plan.version} was changed in place: give it a new version")


async def get(connection: Any, code: str, version: int) -> Plan:
    return Plan.model_validate(await connection.fetchval(_FIND, code, version))
