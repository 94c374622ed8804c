"""`stowage db verify`: every service's database looked at."""

import asyncpg

from services.usage.schemas.verify import verify_schemas
from shared.db.verify import verify


async def verify_all(owners: dict[str, str]) -> dict[str, list[str]]:
    """Problems by service, from the owner's point of view."""
    found = {}
    for service, dsn in owners.items():
        connection = await asyncpg.connect(dsn)
        try:
            found[service] = await verify(connection, service)
            if service == "usage":
                found[service] += await verify_schemas(connection)
        finally:
            await connection.close()
    return found
