"""Uploads in pieces, while they run and for a while after."""

from alembic import op

from shared.db.rls import protect

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Half of each page stays free: a row is rewritten with every piece, and no index has to hear of it.
    op.execute(
        """
        CREATE TABLE resumable_upload (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant_storage,
            user_id uuid,
            location text NOT NULL,
            length bigint CHECK (length >= 0),
            upload_offset bigint NOT NULL DEFAULT 0 CHECK (upload_offset >= 0),
            state jsonb NOT NULL DEFAULT '{}',
            said text NOT NULL,
            concat text,
            finished boolean NOT NULL DEFAULT false,
            lease uuid,
            beat timestamptz,
            wanted boolean NOT NULL DEFAULT false,
            expires_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CHECK (upload_offset <= length)
        ) WITH (fillfactor = 50)
        """
    )
    op.execute("CREATE INDEX resumable_upload_expiry ON resumable_upload (expires_at)")
    protect("resumable_upload")


def downgrade() -> None:
    raise NotImplementedError("uploads under way would be lost")
