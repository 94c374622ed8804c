"""Plans that are tried before they are paid for: once a team and plan."""

from alembic import op

from shared.db.rls import append_only, protect

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE subscription
            DROP CONSTRAINT subscription_status_check,
            ADD CONSTRAINT subscription_status_check CHECK (status IN ('active', 'past_due', 'trialing')),
            ADD CONSTRAINT subscription_trialing
                CHECK (status <> 'trialing' OR (price IS NULL AND period_start IS NOT NULL AND period_end IS NOT NULL))
        """
    )
    op.execute(
        """
        CREATE TABLE subscription_trial (
            tenant_id uuid NOT NULL,
            plan text NOT NULL,
            plan_version int NOT NULL,
            started_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL CHECK (ends_at > started_at),
            PRIMARY KEY (tenant_id, plan),
            FOREIGN KEY (plan, plan_version) REFERENCES plan
        )
        """
    )
    protect("subscription_trial")
    append_only("subscription_trial")


def downgrade() -> None:
    raise NotImplementedError("what was tried is never forgotten")
