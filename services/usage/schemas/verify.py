"""What `stowage db verify` looks at in usage's database beyond row security: functions, and every client's schema."""

from typing import Any

import orjson

_COLUMNS = {
    "total_used": "bigint",
    "last_calculation": "timestamp with time zone",
    "storage_categories": "jsonb",
    "cleanup_history": "jsonb",
    "user_id": "uuid",
}

# Does it run with the owner's rights? May requests call it?
_RIGHTS = {
    "clone_client_schema": (True, False),
    "drop_client_schema": (True, False),
    "client_storage": (True, True),
    "provision_client_schema": (False, False),
    "provision_shared_storage": (False, False),
    "remove_storage": (False, False),
    "calculate_client_storage_usage": (False, False),
    "calculate_storage_usage": (False, False),
    "cleanup_history": (False, False),
    "keep_history": (True, False),
}

_FUNCTIONS = """
    SELECT p.proname AS name, p.prosecdef AS definer, p.proowner = d.datdba AS owned,
           has_function_privilege('usage_app', p.oid, 'EXECUTE') AS app,
           has_function_privilege('usage_worker', p.oid, 'EXECUTE') AS worker,
           coalesce(array_to_string(p.proconfig, ' ') LIKE '%search_path=pg_catalog, public, pg_temp%', false) AS pinned
    FROM pg_proc AS p, pg_database AS d
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY($1) AND d.datname = current_database()
"""

_SCHEMAS = """
    SELECT n.nspname AS name, n.nspowner = d.datdba AS owned,
           has_schema_privilege('usage_app', n.oid, 'USAGE') AS app,
           has_schema_privilege('usage_worker', n.oid, 'USAGE') AS worker,
           t.oid IS NOT NULL AS found,
           coalesce(has_table_privilege('usage_app', t.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'), false)
               AS app_table,
           coalesce(has_table_privilege('usage_worker', t.oid, 'SELECT')
                AND has_table_privilege('usage_worker', t.oid, 'INSERT')
                AND has_table_privilege('usage_worker', t.oid, 'UPDATE'), false) AS worker_table,
           (SELECT coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}')
            FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns,
           EXISTS (SELECT FROM pg_index AS i
                   WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid
                     AND pg_get_expr(i.indexprs, i.indrelid) = 'true') AS single
    FROM pg_namespace AS n CROSS JOIN pg_database AS d
    LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = 'storage_management' AND t.relkind = 'r'
    WHERE (n.nspname = 'template' OR n.nspname ~ '^client_[1-9][0-9]*$') AND d.datname = current_database()
    ORDER BY n.nspname
"""

# A table added to the template reaches an old schema when it is provisioned again.
_BEHIND = """
    SELECT n.nspname AS name, t.relname AS part FROM pg_namespace AS n
    JOIN pg_class AS t ON t.relnamespace = to_regnamespace('template') AND t.relkind = 'r'
    WHERE n.nspname ~ '^client_[1-9][0-9]*$' AND t.relname <> 'storage_management'
        AND NOT EXISTS (SELECT FROM pg_class AS c
                        WHERE c.relnamespace = n.oid AND c.relname = t.relname AND c.relkind = 'r')
    ORDER BY 1, 2
"""

_PLACES = """
    SELECT coalesce(n.nspname, 'client_' || t.number) AS name, t.tenant_id IS NULL AS ownerless
    FROM (SELECT * FROM tenant WHERE place = 'schema') AS t
    FULL JOIN (SELECT nspname FROM pg_namespace WHERE nspname ~ '^client_[1-9][0-9]*$') AS n
        ON n.nspname = 'client_' || t.number
    WHERE t.tenant_id IS NULL OR n.nspname IS NULL ORDER BY 1
"""


async def verify_schemas(connection: Any) -> list[str]:
    """Problems in words, each with the name of the function or schema that is wrong."""
    if await connection.fetchval("SELECT to_regclass('tenant') IS NULL"):
        return []  # an older version, which is said already
    functions = {row["name"]: row for row in await connection.fetch(_FUNCTIONS, list(_RIGHTS))}
    problems = [problem for name in sorted(_RIGHTS) for problem in _of_function(name, functions.get(name))]
    schemas = await connection.fetch(_SCHEMAS)
    if all(row["name"] != "template" for row in schemas):
        problems.append("schema template is missing")
    problems += [f"schema {row['name']}: {wrong}" for row in schemas for wrong in _of_schema(row)]
    problems += [
        f"schema {row['name']}: {row['part']} of the template is missing" for row in await connection.fetch(_BEHIND)
    ]
    for row in await connection.fetch(_PLACES):
        problems.append(f"schema {row['name']} {'belongs to no tenant' if row['ownerless'] else 'is missing'}")
    return problems


def _of_function(name: str, found: Any) -> list[str]:
    if found is None:
        return []  # missing: that is said of every function
    definer, app = _RIGHTS[name]
    wrong = {
        "does not belong to the owner of the database": not found["owned"],
        "has no search_path of its own": not found["pinned"],
        "runs with the wrong rights": found["definer"] != definer,
        "may be executed by requests" if found["app"] else "may not be executed by requests": found["app"] != app,
        "may not be executed by the worker": not found["worker"],
    }
    return [f"function {name} {what}" for what, is_so in wrong.items() if is_so]


def _of_schema(found: Any) -> list[str]:
    client = found["name"] != "template"
    wrong = {
        "does not belong to the owner of the database": not found["owned"],
        "requests may use it": found["app"] or found["app_table"],
        "the worker may not use it": client and not (found["worker"] and (found["worker_table"] or not found["found"])),
        "storage_management is missing": not found["found"],
        "storage_management has other columns": found["found"] and orjson.loads(found["columns"]) != _COLUMNS,
        "storage_management may have several rows": found["found"] and not found["single"],
    }
    return [what for what, is_so in wrong.items() if is_so]
