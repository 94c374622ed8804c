"""People, tenants, who belongs to which, sessions, and the outbox of `tenants.v1`."""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import open_table, protect
from shared.outbox import tables as outbox

revision = "0001"
down_revision = None

# Which person asks: set beside app.tenant_id, so that somebody can list the tenants they belong to.
_PERSON = "nullif(current_setting('app.user_id', true), '')::uuid"


def upgrade() -> None:
    _people()
    _tenants()
    _sessions()
    outbox.create()


def _people() -> None:
    op.execute(
        """
        CREATE TABLE person (
            id uuid PRIMARY KEY,
            email text NOT NULL UNIQUE,
            password_hash text NOT NULL,
            created_at timestamptz NOT NULL
        )
        """
    )
    open_table("person")
    op.execute(
        """
        CREATE TABLE profile (
            user_id uuid PRIMARY KEY REFERENCES person ON DELETE CASCADE,
            name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
            locale text NOT NULL,
            is_admin boolean NOT NULL DEFAULT false,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )
        """
    )
    app, worker = roles()
    # Nobody becomes administrator through the door: the role that serves requests cannot write the column.
    op.execute(f'GRANT SELECT, DELETE ON profile TO "{app}"')
    op.execute(f'GRANT INSERT (user_id, name, locale, created_at, updated_at) ON profile TO "{app}"')
    op.execute(f'GRANT UPDATE (name, locale, updated_at) ON profile TO "{app}"')
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON profile TO "{worker}"')


def _tenants() -> None:
    op.execute(
        """
        CREATE TABLE tenant (
            id uuid PRIMARY KEY,
            slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$'),
            name text NOT NULL,
            owner_id uuid NOT NULL REFERENCES person,
            timezone text NOT NULL DEFAULT 'UTC',
            locale text NOT NULL,
            created_at timestamptz NOT NULL
        )
        """
    )
    protect("tenant", tenant_column="id")
    op.execute(
        """
        CREATE TABLE membership (
            tenant_id uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
            user_id uuid NOT NULL REFERENCES person ON DELETE CASCADE,
            role text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
            created_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, user_id)
        )
        """
    )
    op.execute("CREATE INDEX membership_of_user ON membership (user_id)")
    protect("membership")
    app, _ = roles()
    op.execute(f'CREATE POLICY person ON membership FOR SELECT TO "{app}" USING (user_id = {_PERSON})')
    op.execute(
        f'CREATE POLICY person ON tenant FOR SELECT TO "{app}" '
        f"USING (id IN (SELECT m.tenant_id FROM membership AS m WHERE m.user_id = {_PERSON}))"
    )


def _sessions() -> None:
    op.execute(
        """
        CREATE TABLE session (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL REFERENCES person ON DELETE CASCADE,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            ended_at timestamptz,
            end_reason text CHECK (end_reason IN ('logout', 'reuse'))
        )
        """
    )
    op.execute("CREATE INDEX session_of_user ON session (user_id)")
    op.execute(
        """
        CREATE TABLE refresh_token (
            digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
            session_id uuid NOT NULL REFERENCES session ON DELETE CASCADE,
            created_at timestamptz NOT NULL,
            used_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX refresh_token_session ON refresh_token (session_id)")
    op.execute("CREATE INDEX session_expiry ON session (expires_at)")
    open_table("session")
    open_table("refresh_token")
