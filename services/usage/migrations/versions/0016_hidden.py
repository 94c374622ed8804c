"""What lies in the trash and in older versions, of each file type and category, project and person."""

from alembic import op

from shared.db.rls import open_table

revision = "0016"
down_revision = "0015"

_TABLES = ("usage_breakdown", "project_storage", "user_usage")


def upgrade() -> None:
    # No check: until what was there before is filled in, what leaves makes less than nothing of it.
    for table in _TABLES:
        op.execute(
            f"""
            ALTER TABLE {table}
                ADD trashed_bytes bigint NOT NULL DEFAULT 0,
                ADD trashed_files bigint NOT NULL DEFAULT 0,
                ADD version_bytes bigint NOT NULL DEFAULT 0,
                ADD version_files bigint NOT NULL DEFAULT 0
            """
        )
    # Only the ledgers say which kind, project and person it is of, and they are upload's: the worker asks for them.
    op.execute("CREATE TABLE rebuild_wanted (reason text PRIMARY KEY)")
    open_table("rebuild_wanted")
    # Its own row security would hide the tenants from the owner.
    op.execute("ALTER TABLE tenant_usage NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        INSERT INTO rebuild_wanted SELECT 'hidden' WHERE EXISTS (
            SELECT FROM tenant_usage
            WHERE (trashed_bytes, trashed_files, version_bytes, version_files) <> (0, 0, 0, 0)
        )
        """
    )
    op.execute("ALTER TABLE tenant_usage FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("DROP TABLE rebuild_wanted")
    for table in _TABLES:
        op.execute(
            f"ALTER TABLE {table} DROP trashed_bytes, DROP trashed_files, DROP version_bytes, DROP version_files"
        )
