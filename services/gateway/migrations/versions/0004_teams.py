"""Projects of tenants, and what their plans allow."""

from alembic import op

from shared.db.rls import protect

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE project (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
            name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
            created_by uuid REFERENCES person ON DELETE SET NULL,
            created_at timestamptz NOT NULL,
            UNIQUE (tenant_id, name)
        )
        """
    )
    op.execute("CREATE INDEX project_oldest ON project (tenant_id, created_at, id)")
    protect("project")
    # Told by billing, maybe before the tenant's own row is seen: it refers to nothing.
    op.execute(
        """
        CREATE TABLE tenant_entitlement (
            tenant_id uuid PRIMARY KEY,
            version bigint NOT NULL CHECK (version > 0),
            plan text NOT NULL,
            granted jsonb NOT NULL CHECK (jsonb_typeof(granted) = 'object'),
            updated_at timestamptz NOT NULL
        )
        """
    )
    protect("tenant_entitlement")
