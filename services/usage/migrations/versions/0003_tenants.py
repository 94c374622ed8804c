"""Tenants as `tenants.v1` tells of them; what each stores by category, in one table or in a schema of its own."""

from alembic import op

from shared.db import rls
from shared.db.alembic_env import roles

revision = "0003"
down_revision = "0002"

# Written the same way in both places, so that a row moves as it is.
_COLUMNS = """
    total_used bigint NOT NULL DEFAULT 0 CHECK (total_used >= 0),
    last_calculation timestamptz,
    storage_categories jsonb NOT NULL DEFAULT '{}',
    cleanup_history jsonb NOT NULL DEFAULT '[]',
    user_id uuid
"""
_NAMES = "total_used, last_calculation, storage_categories, cleanup_history, user_id"

# For the worker alone unless said otherwise; nobody finds them by accident.
_PINNED = "SET search_path = pg_catalog, public, pg_temp"


def upgrade() -> None:
    _tenants()
    _storage_management()
    _cleanups()
    _schemas()
    _calculation()
    _provisioning()
    _reading()


def _tenants() -> None:
    app, _ = roles()
    # `place` follows what is wanted: `isolation`, or nowhere once the tenant is deleted.
    op.execute(
        """
        CREATE TABLE tenant (
            tenant_id uuid PRIMARY KEY,
            slug text NOT NULL,
            name text NOT NULL,
            owner_id uuid NOT NULL,
            timezone text NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            isolation text NOT NULL CHECK (isolation IN ('shared', 'schema')),
            place text CHECK (place IN ('shared', 'schema')),
            calculated_at timestamptz,
            seq bigint NOT NULL,
            deleted_at timestamptz
        )
        """
    )
    op.execute(
        """
        CREATE INDEX tenant_unsettled ON tenant (tenant_id)
        WHERE place IS DISTINCT FROM CASE WHEN deleted_at IS NULL THEN isolation END
        """
    )
    rls.protect("tenant")
    # Requests choose a mode and nothing else.
    op.execute(f'REVOKE INSERT, UPDATE, DELETE ON tenant FROM "{app}"')
    op.execute(f'GRANT UPDATE (isolation) ON tenant TO "{app}"')
    # Functions that run as the owner find by it whose schema is whose.
    op.execute("CREATE POLICY owner ON tenant FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(
        """
        CREATE TABLE calculation_run (
            day date PRIMARY KEY,
            tenants bigint NOT NULL,
            failed bigint NOT NULL,
            finished_at timestamptz NOT NULL
        )
        """
    )
    rls.open_table("calculation_run")


def _storage_management() -> None:
    app, _ = roles()
    op.execute(f"CREATE TABLE storage_management (tenant_id uuid PRIMARY KEY, {_COLUMNS})")
    rls.protect("storage_management")
    op.execute(f'REVOKE INSERT, UPDATE, DELETE ON storage_management FROM "{app}"')
    op.execute("CREATE SCHEMA template")
    op.execute(f"CREATE TABLE template.storage_management ({_COLUMNS})")
    # One row, of the one tenant.
    op.execute("CREATE UNIQUE INDEX storage_management_one ON template.storage_management ((true))")


def _cleanups() -> None:
    op.execute(
        """
        CREATE TABLE cleanup_day (
            tenant_id uuid NOT NULL,
            day date NOT NULL,
            kind text NOT NULL CHECK (kind IN ('files', 'trash', 'versions')),
            files bigint NOT NULL,
            bytes bigint NOT NULL,
            PRIMARY KEY (tenant_id, day, kind)
        )
        """
    )
    rls.protect("cleanup_day")


def _schemas() -> None:
    """What only the owner may do: it takes a tenant, never a name, so no name can be forged."""
    _, worker = roles()
    _function(
        "clone_client_schema(tenant uuid) RETURNS text",
        f"""
        DECLARE
            target text;
            part name;
        BEGIN
            SELECT 'client_' || t.number INTO target FROM tenant AS t
            WHERE t.tenant_id = clone_client_schema.tenant AND t.deleted_at IS NULL;
            IF NOT FOUND THEN
                RAISE no_data_found USING MESSAGE = 'there is no such tenant';
            END IF;
            EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', target);
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO "{worker}"', target);
            FOR part IN
                SELECT c.relname FROM pg_class AS c
                WHERE c.relnamespace = 'template'::regnamespace AND c.relkind = 'r' ORDER BY 1
            LOOP
                EXECUTE format('CREATE TABLE IF NOT EXISTS %I.%I (LIKE template.%I INCLUDING ALL)', target, part, part);
                EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I.%I TO "{worker}"', target, part);
            END LOOP;
            RETURN target;
        END
        """,
        definer=True,
    )
    _function(
        "drop_client_schema(tenant uuid) RETURNS void",
        """
        DECLARE
            target text;
        BEGIN
            SELECT 'client_' || t.number INTO target FROM tenant AS t WHERE t.tenant_id = drop_client_schema.tenant;
            IF FOUND THEN
                EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', target);
            END IF;
        END
        """,
        definer=True,
    )


def _calculation() -> None:
    # The tenant's row is locked first, then its counters: as the consumer does, so neither waits for the other in
    # a circle. Counters and breakdown change only under that second lock.
    _function(
        "calculate_storage_usage(tenant uuid) RETURNS bigint",
        f"""
        DECLARE
            known tenant;
            total bigint := 0;
            number_of_files bigint := 0;
            categories jsonb := '{{}}';
            history jsonb;
            moment timestamptz;
        BEGIN
            SELECT * INTO known FROM tenant AS t
            WHERE t.tenant_id = calculate_storage_usage.tenant AND t.place IS NOT NULL FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE no_data_found USING MESSAGE = 'there is no such tenant';
            END IF;
            PERFORM FROM tenant_usage AS u WHERE u.tenant_id = known.tenant_id FOR UPDATE;
            -- Without counters nothing is locked, so nothing is looked at: the first file may be coming just now.
            IF FOUND THEN
                SELECT coalesce(sum(c.bytes), 0), coalesce(sum(c.files), 0),
                       coalesce(jsonb_object_agg(c.category, jsonb_build_object('bytes', c.bytes, 'files', c.files)),
                                '{{}}')
                INTO total, number_of_files, categories
                FROM (SELECT b.category, sum(b.total_size)::bigint AS bytes, sum(b.file_count)::bigint AS files
                      FROM usage_breakdown AS b WHERE b.tenant_id = known.tenant_id AND b.file_count > 0
                      GROUP BY b.category) AS c;
                UPDATE tenant_usage AS u SET bytes = total, files = number_of_files
                WHERE u.tenant_id = known.tenant_id AND (u.bytes, u.files) <> (total, number_of_files);
            END IF;
            history := cleanup_history(known.tenant_id);
            moment := clock_timestamp();
            IF known.place = 'schema' THEN
                EXECUTE format('INSERT INTO client_%s.storage_management ({_NAMES}) VALUES ($1, $2, $3, $4, $5)
                    ON CONFLICT ((true)) DO UPDATE SET {_assigned()}', known.number)
                USING total, moment, categories, history, known.owner_id;
            ELSE
                INSERT INTO storage_management (tenant_id, {_NAMES})
                VALUES (known.tenant_id, total, moment, categories, history, known.owner_id)
                ON CONFLICT (tenant_id) DO UPDATE SET {_assigned()};
            END IF;
            UPDATE tenant AS t SET calculated_at = moment WHERE t.tenant_id = known.tenant_id;
            RETURN total;
        END
        """,
    )
    _function(
        "cleanup_history(tenant uuid) RETURNS jsonb",
        """
        BEGIN
            DELETE FROM cleanup_day AS d WHERE d.tenant_id = cleanup_history.tenant AND (d.day, d.kind) IN (
                SELECT o.day, o.kind FROM cleanup_day AS o WHERE o.tenant_id = cleanup_history.tenant
                ORDER BY o.day DESC, o.kind OFFSET 100);
            RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'at', d.day, 'kind', d.kind, 'bytes', d.bytes, 'files', d.files)
                        ORDER BY d.day DESC, d.kind), '[]')
                    FROM cleanup_day AS d WHERE d.tenant_id = cleanup_history.tenant);
        END
        """,
    )
    _function(
        "calculate_client_storage_usage(schema text) RETURNS bigint",
        """
        DECLARE
            found_tenant uuid;
        BEGIN
            IF schema ~ '^client_[1-9][0-9]{0,17}$' THEN
                SELECT t.tenant_id INTO found_tenant FROM tenant AS t
                WHERE t.number = substr(schema, 8)::bigint AND t.place = 'schema';
            END IF;
            IF found_tenant IS NULL OR to_regclass(schema || '.storage_management') IS NULL THEN
                RAISE invalid_schema_name USING MESSAGE = format('%L is no client''s schema', schema);
            END IF;
            RETURN calculate_storage_usage(found_tenant);
        END
        """,
    )


def _provisioning() -> None:
    # Each is one transaction and may be run twice. Nothing is copied: what the row holds is calculated where it goes.
    _function(
        "provision_client_schema(tenant uuid) RETURNS text",
        """
        DECLARE
            known tenant;
            target text;
        BEGIN
            SELECT * INTO known FROM tenant AS t
            WHERE t.tenant_id = provision_client_schema.tenant FOR NO KEY UPDATE;
            target := clone_client_schema(known.tenant_id);
            DELETE FROM storage_management AS s WHERE s.tenant_id = known.tenant_id;
            UPDATE tenant AS t SET isolation = 'schema', place = 'schema' WHERE t.tenant_id = known.tenant_id;
            PERFORM calculate_client_storage_usage(target);
            RETURN target;
        END
        """,
    )
    _function(
        "provision_shared_storage(tenant uuid) RETURNS void",
        """
        DECLARE
            known tenant;
        BEGIN
            SELECT * INTO known FROM tenant AS t
            WHERE t.tenant_id = provision_shared_storage.tenant AND t.deleted_at IS NULL FOR NO KEY UPDATE;
            PERFORM drop_client_schema(known.tenant_id);
            UPDATE tenant AS t SET isolation = 'shared', place = 'shared' WHERE t.tenant_id = known.tenant_id;
            PERFORM calculate_storage_usage(known.tenant_id);
        END
        """,
    )
    _function(
        "remove_storage(tenant uuid) RETURNS void",
        """
        BEGIN
            PERFORM drop_client_schema(remove_storage.tenant);
            DELETE FROM storage_management AS s WHERE s.tenant_id = remove_storage.tenant;
            UPDATE tenant AS t SET place = NULL WHERE t.tenant_id = remove_storage.tenant;
        END
        """,
    )


def _reading() -> None:
    """The app role has no way into clients' schemas; this one gives it the row of the tenant it works for."""
    app, _ = roles()
    _function(
        "client_storage() RETURNS SETOF template.storage_management",
        f"""
        DECLARE
            source text;
        BEGIN
            SELECT format('client_%s.storage_management', t.number) INTO source FROM tenant AS t
            WHERE t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid AND t.place = 'schema';
            -- Moved away a moment ago: the caller sees nothing and looks again.
            IF to_regclass(source) IS NOT NULL THEN
                RETURN QUERY EXECUTE format('SELECT {_NAMES} FROM %s', source);
            END IF;
        END
        """,
        definer=True,
        volatility="STABLE",
    )
    op.execute(f'GRANT EXECUTE ON FUNCTION client_storage() TO "{app}"')


def _assigned() -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", "))


def _function(signature: str, body: str, *, definer: bool = False, volatility: str = "VOLATILE") -> None:
    _, worker = roles()
    rights = "SECURITY DEFINER" if definer else "SECURITY INVOKER"
    # Alembic takes a colon before a word for a parameter.
    text = f"CREATE FUNCTION {signature} LANGUAGE plpgsql {volatility} {rights} {_PINNED} AS $body${body}$body$"
    op.get_bind().exec_driver_sql(text)
    name = signature.split(" RETURNS ", maxsplit=1)[0]
    op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION {name} TO "{worker}"')


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        DO $body$
        DECLARE
            target name;
        BEGIN
            FOR target IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^client_[1-9][0-9]*$' LOOP
                EXECUTE format('DROP SCHEMA %I CASCADE', target);
            END LOOP;
        END
        $body$
        """
    )
    for signature in (
        "client_storage()",
        "remove_storage(uuid)",
        "provision_shared_storage(uuid)",
        "provision_client_schema(uuid)",
        "calculate_client_storage_usage(text)",
        "cleanup_history(uuid)",
        "calculate_storage_usage(uuid)",
        "drop_client_schema(uuid)",
        "clone_client_schema(uuid)",
    ):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP TABLE template.storage_management")
    op.execute("DROP SCHEMA template")
    op.execute("DROP TABLE storage_management, cleanup_day, calculation_run, tenant")
