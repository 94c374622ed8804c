"""Rebuilds of the counters, and every correction one of them made."""

from alembic import op

from shared.db.rls import open_table, protect

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE rebuild (
            id uuid PRIMARY KEY,
            reason text NOT NULL,
            started_at timestamptz NOT NULL,
            finished_at timestamptz NOT NULL,
            tenants bigint NOT NULL,
            entries bigint NOT NULL,
            differing bigint NOT NULL,
            ahead bigint NOT NULL,
            repaired bigint NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX rebuild_newest ON rebuild (started_at, id)")
    open_table("rebuild")
    op.execute(
        """
        CREATE TABLE counter_adjustment (
            tenant_id uuid NOT NULL,
            rebuild_id uuid NOT NULL,
            position bigint NOT NULL,
            reason text NOT NULL,
            differences jsonb NOT NULL,
            at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, rebuild_id)
        )
        """
    )
    protect("counter_adjustment")
    # Where the next nightly comparison goes on.
    op.execute(
        """
        CREATE TABLE fold_checkpoint (
            tenant_id uuid PRIMARY KEY,
            position bigint NOT NULL,
            parts jsonb NOT NULL
        )
        """
    )
    protect("fold_checkpoint")


def downgrade() -> None:
    op.execute("DROP TABLE fold_checkpoint, counter_adjustment, rebuild")
