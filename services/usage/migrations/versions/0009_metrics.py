"""All limits of a plan, what a tenant uses in a month, and what each person has uploaded."""

from alembic import op

from shared.db.rls import protect

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Null until they are heard of: the next look asks billing.
    op.execute("ALTER TABLE tenant_usage ADD limits jsonb CHECK (jsonb_typeof(limits) = 'object')")
    op.execute(
        """
        CREATE TABLE tenant_month (
            tenant_id uuid NOT NULL,
            year int NOT NULL,
            month int NOT NULL CHECK (month BETWEEN 1 AND 12),
            traffic_in bigint NOT NULL DEFAULT 0 CHECK (traffic_in >= 0),
            traffic_out bigint NOT NULL DEFAULT 0 CHECK (traffic_out >= 0),
            requests bigint NOT NULL DEFAULT 0 CHECK (requests >= 0),
            images bigint NOT NULL DEFAULT 0 CHECK (images >= 0),
            begun boolean NOT NULL DEFAULT false,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, year, month)
        ) WITH (fillfactor = 70)
        """
    )
    # Its own row security would hide the months from the owner.
    op.execute("ALTER TABLE project_usage NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        INSERT INTO tenant_month (tenant_id, year, month, traffic_in, traffic_out, requests, updated_at)
        SELECT tenant_id, year, month, sum(traffic_in), sum(traffic_out), sum(requests), max(updated_at)
        FROM project_usage GROUP BY 1, 2, 3
        """
    )
    op.execute("ALTER TABLE project_usage FORCE ROW LEVEL SECURITY")
    # No check: files stored before there was this table leave it with less than nothing.
    op.execute(
        """
        CREATE TABLE user_usage (
            tenant_id uuid NOT NULL,
            user_id uuid NOT NULL,
            bytes bigint NOT NULL,
            files bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, user_id)
        ) WITH (fillfactor = 70)
        """
    )
    protect("tenant_month")
    protect("user_usage")


def downgrade() -> None:
    op.execute("DROP TABLE user_usage, tenant_month")
    op.execute("ALTER TABLE tenant_usage DROP limits")
