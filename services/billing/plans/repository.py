"""The catalogue's versions in the database."""

from typing import Any

from services.billing.catalogue.loader import Catalogue, CatalogueError, Plan
from services.billing.catalogue.problems import Problem

_KNOWN = "SELECT digest FROM plan WHERE code = $1 AND version = $2"
_INSERT = """
    INSERT INTO plan (code, version, name, digest, definition) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_FIND = "SELECT definition FROM plan WHERE code = $1 AND version = $2"


async def register(connection: Any, catalogue: Catalogue) -> None:
    """Old versions too. Raises CatalogueError when one that was sold says something else now."""
    changed = []
    for (code, version), plan in catalogue.versions.items():
        await connection.execute(_INSERT, code, version, plan.name, plan.digest, plan.model_dump(mode="json"))
        if await connection.fetchval(_KNOWN, code, version) != plan.digest:
            text = f"plan {code} version {version} was changed in place: give it a new version"
            changed.append(Problem("", text))
    if changed:
        raise CatalogueError(changed)


async def get(connection: Any, code: str, version: int) -> Plan:
    return Plan.stored(await connection.fetchval(_FIND, code, version))
