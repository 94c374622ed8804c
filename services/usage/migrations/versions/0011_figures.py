"""What events tell outright: members, projects, credits."""

from alembic import op

from shared.db.rls import protect

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # Nobody had more than an owner before there was this table: what is told next is the first news.
    op.execute(
        """
        CREATE TABLE tenant_figure (
            tenant_id uuid NOT NULL,
            metric text NOT NULL,
            used bigint NOT NULL CHECK (used >= 0),
            remaining bigint CHECK (remaining >= 0),
            month date,
            seq bigint NOT NULL CHECK (seq > 0),
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, metric)
        ) WITH (fillfactor = 70)
        """
    )
    protect("tenant_figure")


def downgrade() -> None:
    op.execute("DROP TABLE tenant_figure")
