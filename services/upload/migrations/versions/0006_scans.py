"""What the scanner said of each file's content."""

from alembic import op

from shared.db.rls import protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # Without a reference to the file: what was found infected is gone, and why it is gone stays.
    op.execute(
        """
        CREATE TABLE scan_result (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            file_id uuid NOT NULL,
            file_name text NOT NULL,
            size bigint NOT NULL,
            sha256 text NOT NULL,
            verdict text NOT NULL CHECK (verdict IN ('clean', 'infected', 'too_large')),
            signature text,
            at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (file_id, sha256)
        )
        """
    )
    op.execute("CREATE INDEX scan_result_newest ON scan_result (tenant_id, at, id)")
    op.execute("CREATE INDEX scan_result_found ON scan_result (tenant_id, at, id) WHERE verdict <> 'clean'")
    protect("scan_result")


def downgrade() -> None:
    """Reports are kept."""
    raise NotImplementedError
