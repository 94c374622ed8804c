"""What `tenants.v1` tells of a tenant, kept also while the tenant has no account yet."""

from alembic import op

from shared.db.rls import protect

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tenant (
            tenant_id uuid PRIMARY KEY,
            timezone text NOT NULL DEFAULT 'UTC',
            deleted_at timestamptz
        )
        """
    )
    protect("tenant")


def downgrade() -> None:
    op.execute("DROP TABLE tenant")
