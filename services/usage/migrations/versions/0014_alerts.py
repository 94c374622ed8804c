"""Whether a threshold that was passed is a hard one; which rebuilds added up whole ledgers."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("ALTER TABLE alert ADD hard boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE rebuild ADD whole boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE rebuild DROP whole")
    op.execute("ALTER TABLE alert DROP hard")
