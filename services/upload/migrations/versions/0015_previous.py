"""What replacements and moves took away, to be summed without going through all the other entries."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX storage_transaction_previous ON storage_transaction (tenant_id, seq)
        INCLUDE (previous_file_type, previous_category, previous_project_id, previous_owner, previous_size)
        WHERE previous_size IS NOT NULL
        """
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is never dropped")
