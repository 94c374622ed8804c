"""Images above the plan's quota, for credits."""

from alembic import op

from shared.db.rls import protect

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("ALTER TABLE image_month ADD bought bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE image_month ADD CHECK (bought BETWEEN 0 AND used)")
    op.execute("ALTER TABLE reservation ADD image_paid boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE reservation ADD CHECK (NOT image_paid OR image_month IS NOT NULL)")
    # A row is what billing is still owed a word about: that the image is stored, or that nothing came of it.
    op.execute(
        """
        CREATE TABLE image_purchase (
            upload_id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'stored', 'dropped')),
            attempts int NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL DEFAULT now(),
            error text,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX image_purchase_due ON image_purchase (due_at)")
    protect("image_purchase")


def downgrade() -> None:
    op.execute("DROP TABLE image_purchase")
    op.execute("ALTER TABLE reservation DROP image_paid")
    op.execute("ALTER TABLE image_month DROP bought")
