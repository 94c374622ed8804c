"""Triggers, functions and policies of a database, beside those that the migrations make.

What they make is written down in `services/SERVICE/migrations/objects.json`, a hash of each definition, so that looking
needs no database to compare with. `python -m tests.fixtures.objects` writes it anew after a migration.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shared.db.migrate import ROOT

# Partitions of history come and go with time, by a function that is among these.
_OBJECTS = r"""
    WITH place AS (
        SELECT n.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END AS prefix FROM pg_namespace AS n
        WHERE n.nspname !~ '^(pg_|information_schema$)'
    ), relation AS (
        SELECT c.oid, p.prefix || c.relname AS name FROM pg_class AS c JOIN place AS p ON p.oid = c.relnamespace
        WHERE NOT (c.relispartition AND c.relname ~ '_[0-9]{8}$')
    )
    SELECT 'trigger ' || t.tgname || ' on ' || r.name AS name, pg_get_triggerdef(t.oid) AS definition
    FROM pg_trigger AS t JOIN relation AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'policy ' || p.polname || ' on ' || r.name, concat_ws(E'\n', p.polcmd, p.polpermissive,
        (SELECT string_agg(coalesce(g.rolname, 'public'), ',' ORDER BY g.rolname)
         FROM unnest(p.polroles) AS role LEFT JOIN pg_roles AS g ON g.oid = role),
        'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy AS p JOIN relation AS r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'function ' || p.prefix || f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
        pg_get_functiondef(f.oid)
    FROM pg_proc AS f JOIN place AS p ON p.oid = f.pronamespace
    WHERE f.prokind IN ('f', 'p')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = f.oid AND d.deptype = 'e')
"""

Objects = Mapping[str, str]  # by kind and name, a hash of how each is defined


async def read_objects(connection: Any) -> Objects:
    """Those there are, but those of extensions."""
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = pg_catalog")  # or names would be cut by it
        rows = await connection.fetch(_OBJECTS)
    return {row["name"]: hashlib.sha256(row["definition"].encode()).hexdigest()[:16] for row in rows}


def expected_objects(service: str) -> Objects:
    """As the newest migration leaves them."""
    found: Objects = json.loads((ROOT / "services" / service / "migrations" / "objects.json").read_text())
    return found


def compare_objects(expected: Objects, found: Objects) -> list[str]:
    """What is not as the migrations make it, in words. A function more than theirs lets nobody in."""
    problems = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            problems.append(f"{name} is missing")
        elif name in expected and found[name] != expected[name]:
            problems.append(f"{name} is not as the migrations make it")
        elif name not in expected and not name.startswith("function "):
            problems.append(f"{name} is none that the migrations make")
    return problems
