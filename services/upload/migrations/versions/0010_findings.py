"""Staff reads every tenant's findings, and those of nobody; nothing else, and changes none."""

from alembic import op

from shared.db.alembic_env import roles

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    app, _ = roles()
    op.execute(
        f'CREATE POLICY staff ON storage_finding FOR SELECT TO "{app}" '
        "USING (current_setting('app.staff', true) = 'findings')"
    )


def downgrade() -> None:
    op.execute("DROP POLICY staff ON storage_finding")
