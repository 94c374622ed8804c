"""What lies in the trash and in older versions: part of what is stored, and told apart."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Until now nothing could be trashed or kept: every counter begins at what is true.
    op.execute(
        """
        ALTER TABLE tenant_usage
            ADD trashed_bytes bigint NOT NULL DEFAULT 0 CHECK (trashed_bytes >= 0),
            ADD trashed_files bigint NOT NULL DEFAULT 0 CHECK (trashed_files >= 0),
            ADD version_bytes bigint NOT NULL DEFAULT 0 CHECK (version_bytes >= 0),
            ADD version_files bigint NOT NULL DEFAULT 0 CHECK (version_files >= 0)
        """
    )


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE tenant_usage
            DROP trashed_bytes, DROP trashed_files, DROP version_bytes, DROP version_files
        """
    )
