"""Mails somebody wants no more of, and the way out that each of them carries."""

from alembic import op

from shared.db.rls import open_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # A person's, whichever of their teams it is about.
    op.execute(
        """
        CREATE TABLE mail_refusal (
            user_id uuid NOT NULL REFERENCES person ON DELETE CASCADE,
            subject text NOT NULL,
            refused_at timestamptz NOT NULL,
            PRIMARY KEY (user_id, subject)
        )
        """
    )
    open_table("mail_refusal")
    op.execute("ALTER TABLE mail ADD COLUMN stop_url text")
