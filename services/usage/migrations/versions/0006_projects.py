"""What projects store, and each month's traffic and storage of a project."""

from alembic import op

from shared.db.rls import protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # No check: files stored before there was this table leave it with less than nothing.
    op.execute(
        """
        CREATE TABLE project_storage (
            tenant_id uuid NOT NULL,
            project_id uuid NOT NULL,
            bytes bigint NOT NULL,
            files bigint NOT NULL,
            PRIMARY KEY (tenant_id, project_id)
        ) WITH (fillfactor = 70)
        """
    )
    op.execute(
        """
        CREATE TABLE project_usage (
            tenant_id uuid NOT NULL,
            project_id uuid NOT NULL,
            year int NOT NULL,
            month int NOT NULL CHECK (month BETWEEN 1 AND 12),
            traffic_in bigint NOT NULL DEFAULT 0 CHECK (traffic_in >= 0),
            traffic_out bigint NOT NULL DEFAULT 0 CHECK (traffic_out >= 0),
            requests bigint NOT NULL DEFAULT 0 CHECK (requests >= 0),
            storage_bytes bigint NOT NULL DEFAULT 0 CHECK (storage_bytes >= 0),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, year, month, project_id)
        ) WITH (fillfactor = 70)
        """
    )
    op.execute("CREATE INDEX project_usage_project ON project_usage (tenant_id, project_id)")
    protect("project_storage")
    protect("project_usage")


def downgrade() -> None:
    op.execute("DROP TABLE project_usage, project_storage")
