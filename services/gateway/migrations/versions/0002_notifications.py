"""Notifications, the mails that go with them, and the consumer's bookkeeping."""

from alembic import op

from shared.db.rls import protect
from shared.kafka import tables as kafka

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # The event's id is the primary key: that is what makes a notification come once.
    op.execute(
        """
        CREATE TABLE notification (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            kind text NOT NULL,
            title text NOT NULL,
            body text NOT NULL,
            data jsonb NOT NULL,
            created_at timestamptz NOT NULL,
            read_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX notification_newest ON notification (tenant_id, created_at DESC, id DESC)")
    protect("notification")
    op.execute(
        """
        CREATE TABLE mail (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            recipient text NOT NULL,
            subject text NOT NULL,
            text_body text NOT NULL,
            html_body text NOT NULL,
            created_at timestamptz NOT NULL,
            due_at timestamptz NOT NULL,
            attempts int NOT NULL DEFAULT 0,
            sent_at timestamptz,
            last_error text
        )
        """
    )
    op.execute("CREATE INDEX mail_due ON mail (due_at) WHERE sent_at IS NULL")
    protect("mail")
    kafka.create()
