"""Row security, written the same way on every tenant table. Called inside migrations.

The app role sees one tenant, named by `set_config('app.tenant_id', …, true)` in the same transaction.
The worker role serves all tenants by a policy of its own. The owner only migrates.
"""

from alembic import op

from shared.db.alembic_env import roles

# '' is what a setting reads after the transaction that set it: it must mean nobody.
_SCOPE = "nullif(current_setting('app.tenant_id', true), '')::uuid"


def protect(table: str, tenant_column: str = "tenant_id") -> None:
    """Forces row security on a tenant table, the owner included."""
    app, worker = roles()
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f'CREATE POLICY tenant ON {table} TO "{app}" '
        f"USING ({tenant_column} = {_SCOPE}) WITH CHECK ({tenant_column} = {_SCOPE})"
    )
    op.execute(f'CREATE POLICY worker ON {table} TO "{worker}" USING (true) WITH CHECK (true)')
    open_table(table)


def open_table(table: str) -> None:
    """Grants both roles the use of a table that belongs to no tenant."""
    app, worker = roles()
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO "{app}", "{worker}"')


def append_only(table: str) -> None:
    """A trigger that refuses UPDATE, DELETE and TRUNCATE: what is written stays."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()")
