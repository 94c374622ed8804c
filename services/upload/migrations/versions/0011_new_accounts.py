"""Where new accounts begin: in `default`, until all files have been moved elsewhere."""

from alembic import op

from shared.db.rls import open_table

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("CREATE TABLE new_account (location text NOT NULL)")
    op.execute("CREATE UNIQUE INDEX new_account_one ON new_account ((true))")
    op.execute("INSERT INTO new_account VALUES ('default')")
    open_table("new_account")


def downgrade() -> None:
    op.execute("DROP TABLE new_account")
