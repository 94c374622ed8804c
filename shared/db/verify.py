"""Looks at a migrated database and says what is not as it should be."""

from typing import Any

from shared.db.migrate import head
from shared.db.objects import compare_objects, expected_objects, read_objects

_UNPROTECTED = """
    SELECT c.relname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p')
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
      AND coalesce(obj_description(c.oid, 'pg_class'), '') NOT LIKE 'not a tenant table:%'
    ORDER BY 1
"""

_POLICIES = """
    SELECT c.relname, count(p.polname) FILTER (WHERE p.polname IN ('tenant', 'worker')) AS found
    FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
    WHERE c.relforcerowsecurity GROUP BY c.relname
    HAVING count(p.polname) FILTER (WHERE p.polname IN ('tenant', 'worker')) < 2
    ORDER BY 1
"""

# By what they let through, not by their names: a tenant sees its own rows, and only the worker all of them.
_LOOSE = """
    SELECT c.relname || ' (' || p.polname || ')' FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polname = 'tenant' AND NOT (
            coalesce(pg_get_expr(p.polqual, p.polrelid), '') LIKE '%app.tenant_id%'
            AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'app.tenant_id') LIKE '%app.tenant_id%'
        )
        OR p.polname = 'worker' AND p.polroles <> ARRAY[to_regrole($1)::oid]
    ORDER BY 1
"""

_BROKEN_TRIGGERS = """
    SELECT t.tgname || ' on ' || t.tgrelid::regclass FROM pg_trigger t
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('D', 'R') ORDER BY 1
"""

_STRONG_ROLES = """
    SELECT rolname FROM pg_roles
    WHERE (rolsuper OR rolbypassrls) AND rolname = ANY($1::text[])
"""


async def verify(connection: Any, service: str) -> list[str]:
    """Problems in words; empty when the schema is at its newest version, every tenant table is protected, and triggers,
    functions and policies are those that the migrations make.
    """
    problems = []
    version = await connection.fetchval("SELECT version_num FROM alembic_version")
    if version != head(service):
        problems.append(f"schema is at {version}, the code at {head(service)}: run the migrations")
    problems += [
        f"table {row[0]} has a tenant_id but no forced row security" for row in await connection.fetch(_UNPROTECTED)
    ]
    problems += [f"table {row[0]} lacks the tenant or the worker policy" for row in await connection.fetch(_POLICIES)]
    loose = await connection.fetch(_LOOSE, f"{service}_worker")
    problems += [f"policy of table {row[0]} lets others in" for row in loose]
    problems += [f"trigger {row[0]} is disabled" for row in await connection.fetch(_BROKEN_TRIGGERS)]
    roles = [f"{service}_app", f"{service}_worker"]
    problems += [f"role {row[0]} can bypass row security" for row in await connection.fetch(_STRONG_ROLES, roles)]
    if version == head(service):  # an older one has others
        problems += compare_objects(expected_objects(service), await read_objects(connection))
    return problems
