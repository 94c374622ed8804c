"""What a subscription costs, its periods, and what comes after the one under way."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE subscription
            ADD interval text CHECK (interval IN ('month', 'year')),
            ADD currency text,
            ADD price bigint CHECK (price > 0),
            ADD anchor timestamptz,
            ADD period int NOT NULL DEFAULT 0 CHECK (period >= 0),
            ADD period_start timestamptz,
            ADD next_plan text,
            ADD next_plan_version int,
            ADD next_interval text CHECK (next_interval IN ('month', 'year')),
            ADD next_currency text,
            ADD invoice_id uuid REFERENCES invoice,
            ADD grace_until timestamptz,
            ADD notices int NOT NULL DEFAULT 0,
            DROP CONSTRAINT subscription_status_check,
            ADD CONSTRAINT subscription_status_check CHECK (status IN ('active', 'past_due')),
            ADD CONSTRAINT subscription_past_due
                CHECK ((status = 'past_due') = (invoice_id IS NOT NULL AND grace_until IS NOT NULL)),
            ADD FOREIGN KEY (next_plan, next_plan_version) REFERENCES plan
        """
    )
    # What was bought before had one price, and its first period is under way.
    op.execute("ALTER TABLE subscription NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE subscription AS s SET interval = p.price ->> 'interval', currency = p.price ->> 'currency',
            price = replace(p.price ->> 'amount', '.', '')::bigint, anchor = started_at, period_start = started_at
        FROM (
            SELECT code, version, coalesce(definition -> 'price', definition -> 'prices' -> 0) AS price FROM plan
        ) AS p
        WHERE (p.code, p.version) = (s.plan, s.plan_version) AND s.period_end IS NOT NULL
            AND jsonb_typeof(p.price) = 'object'
        """
    )
    op.execute("ALTER TABLE subscription FORCE ROW LEVEL SECURITY")
    op.execute("CREATE INDEX subscription_due ON subscription (period_end) WHERE period_end IS NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("what was bought is never forgotten")
