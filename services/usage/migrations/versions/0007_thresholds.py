"""Thresholds of a tenant's own, in percent or as an amount, of any metric."""

from alembic import op

from shared.db.rls import protect

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE threshold_choice (
            tenant_id uuid NOT NULL REFERENCES tenant_usage,
            metric text NOT NULL,
            items jsonb NOT NULL CHECK (jsonb_typeof(items) = 'array'),
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, metric)
        )
        """
    )
    protect("threshold_choice")
    op.execute("ALTER TABLE threshold_state DROP CONSTRAINT threshold_state_pkey")
    op.execute("ALTER TABLE threshold_state DROP CONSTRAINT threshold_state_percent_check")
    op.execute("ALTER TABLE alert DROP CONSTRAINT alert_tenant_id_metric_percent_period_armed_key")
    op.execute("DROP INDEX alert_newest")
    op.execute('ALTER TABLE alert ALTER COLUMN "limit" DROP NOT NULL')
    for table in ("threshold_state", "alert"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN percent TO value")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN value TYPE bigint, ADD CHECK (value > 0)")
        op.execute(
            f"ALTER TABLE {table} ADD unit text NOT NULL DEFAULT 'percent' CHECK (unit IN ('percent', 'amount'))"
        )
        op.execute(f"ALTER TABLE {table} ALTER COLUMN unit DROP DEFAULT")
    op.execute("ALTER TABLE threshold_state ADD PRIMARY KEY (tenant_id, metric, unit, value)")
    op.execute("ALTER TABLE alert ADD UNIQUE (tenant_id, metric, unit, value, period, armed)")
    op.execute("CREATE INDEX alert_newest ON alert (tenant_id, at, value, id)")
