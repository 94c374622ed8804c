"""What plans grant of isolation, which may be heard of before the tenant is."""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import protect

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    app, _ = roles()
    op.execute(
        """
        CREATE TABLE isolation_grant (
            tenant_id uuid PRIMARY KEY,
            version bigint NOT NULL,
            isolation text NOT NULL CHECK (isolation IN ('shared', 'schema'))
        )
        """
    )
    protect("isolation_grant")
    op.execute(f'REVOKE INSERT, UPDATE, DELETE ON isolation_grant FROM "{app}"')
