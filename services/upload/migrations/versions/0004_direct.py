"""Uploads that go straight to the store."""

from alembic import op

from shared.db.rls import protect

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE direct_upload (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            user_id uuid,
            size bigint CHECK (size >= 0),
            sha256 text,
            place jsonb NOT NULL,
            location text NOT NULL,
            staged text NOT NULL,
            path text NOT NULL,
            backend jsonb NOT NULL,
            part_size bigint CHECK (part_size > 0),
            collects boolean NOT NULL,
            looked_at timestamptz NOT NULL DEFAULT now(),
            state text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'completing', 'stored', 'refused', 'aborted', 'expired')),
            problem jsonb,
            attempt int NOT NULL DEFAULT 0,
            lease timestamptz,
            lifetime int NOT NULL,
            expires_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX direct_upload_expiry ON direct_upload (expires_at)")
    op.execute("CREATE INDEX direct_upload_collected ON direct_upload (looked_at) WHERE collects")
    protect("direct_upload")


def downgrade() -> None:
    op.execute("DROP TABLE direct_upload")
