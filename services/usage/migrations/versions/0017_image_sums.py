"""Sums that are kept of ledgers have the images of each month, too: the next night makes those anew that have not."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("ALTER TABLE fold_checkpoint ADD has_images boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE fold_checkpoint DROP has_images")
