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
    # What was bought before has its first period under way. Which of a plan's prices it was, the payment says; where
    # there is none, the first. Amounts are decimal text with as many decimals as whoever wrote them liked: "3" is 3.00.
    op.execute("ALTER TABLE subscription NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE subscription AS s SET interval = t.interval, currency = t.currency, price = t.minor,
            anchor = started_at, period_start = started_at
        FROM (
            SELECT held.tenant_id, bought.*
            FROM subscription AS held JOIN plan AS p ON (p.code, p.version) = (held.plan, held.plan_version)
            LEFT JOIN LATERAL (
                SELECT amount, currency FROM payment
                WHERE tenant_id = held.tenant_id AND (plan, plan_version) = (p.code, p.version)
                    AND status = 'completed'
                ORDER BY completed_at DESC LIMIT 1
            ) AS paid ON true
            CROSS JOIN LATERAL (
                SELECT e.price ->> 'interval' AS interval, e.price ->> 'currency' AS currency, m.minor
                FROM jsonb_array_elements(
                    coalesce(p.definition -> 'prices', jsonb_build_array(p.definition -> 'price'))
                ) WITH ORDINALITY AS e(price, place)
                CROSS JOIN LATERAL (
                    SELECT ((e.price ->> 'amount')::numeric * CASE
                        WHEN e.price ->> 'currency' IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG',
                            'RWF', 'UGX', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 1
                        WHEN e.price ->> 'currency' IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 1000
                        ELSE 100 END)::bigint AS minor
                ) AS m
                WHERE jsonb_typeof(e.price) = 'object'
                ORDER BY coalesce((e.price ->> 'currency', m.minor) = (paid.currency, paid.amount), false) DESC,
                    coalesce(e.price ->> 'currency' = paid.currency, false) DESC, e.place
                LIMIT 1
            ) AS bought
            WHERE held.period_end IS NOT NULL
        ) AS t
        WHERE t.tenant_id = s.tenant_id
        """
    )
    op.execute("ALTER TABLE subscription FORCE ROW LEVEL SECURITY")
    op.execute("CREATE INDEX subscription_due ON subscription (period_end) WHERE period_end IS NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("what was bought is never forgotten")
