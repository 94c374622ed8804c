"""Traffic above the plan's, bought for one month."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE tenant_month ADD traffic_bought bigint NOT NULL DEFAULT 0 CHECK (traffic_bought >= 0)")


def downgrade() -> None:
    op.execute("ALTER TABLE tenant_month DROP traffic_bought")
