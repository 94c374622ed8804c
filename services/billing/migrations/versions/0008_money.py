"""Credits taken back with a refund; and subscriptions that 0007 gave the wrong terms, or that owe nothing any more.

Only what is still to come can be mended: an invoice that was issued over a wrong price stays, and is credited by staff.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

_READ = ("subscription", "invoice")  # what is looked at for all tenants


def upgrade() -> None:
    op.execute("ALTER TABLE payment_refund ADD credits_taken bigint, ADD credits_spent bigint")
    op.execute(
        """
        ALTER TABLE credit_transaction DROP CONSTRAINT credit_transaction_type_check,
            ADD CONSTRAINT credit_transaction_type_check
                CHECK (type IN ('grant', 'spend', 'reserve', 'settle', 'release', 'expire', 'take_back'))
        """
    )
    for table in _READ:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    _mend_terms()
    # Their invoice was credited whole, which left them past due for ever.
    op.execute(
        """
        UPDATE subscription AS s SET status = 'active', invoice_id = NULL, grace_until = NULL, notices = 0
        FROM invoice AS i WHERE i.id = s.invoice_id AND i.status IN ('paid', 'credited')
        """
    )
    for table in _READ:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _mend_terms() -> None:
    """A plan's prices never change, so the right one is known: of the currency and interval that the subscription has;
    or, where a payment began the period under way, of those that it was over.
    """
    op.execute(
        """
        UPDATE subscription AS s SET interval = t.interval, currency = t.currency, price = t.minor
        FROM (
            SELECT held.tenant_id, bought.*
            FROM subscription AS held JOIN plan AS p ON (p.code, p.version) = (held.plan, held.plan_version)
            LEFT JOIN LATERAL (
                SELECT amount, currency, metadata ->> 'interval' AS interval FROM payment
                WHERE tenant_id = held.tenant_id AND (plan, plan_version) = (p.code, p.version)
                    AND status = 'completed' AND held.anchor = held.started_at
                    AND abs(extract(epoch FROM completed_at - held.started_at)) < 60
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
                        ELSE 100 END)::bigint AS minor,
                        coalesce(e.price ->> 'currency' = paid.currency
                            AND coalesce(paid.interval = e.price ->> 'interval', true), false) AS paid,
                        (e.price ->> 'currency', e.price ->> 'interval') = (held.currency, held.interval) AS held
                ) AS m
                WHERE jsonb_typeof(e.price) = 'object' AND (m.paid OR m.held)
                ORDER BY m.paid DESC, m.minor = paid.amount DESC NULLS LAST, m.held DESC, e.place
                LIMIT 1
            ) AS bought
            WHERE held.price IS NOT NULL
        ) AS t
        WHERE t.tenant_id = s.tenant_id
            AND (s.interval, s.currency, s.price) IS DISTINCT FROM (t.interval, t.currency, t.minor)
        """
    )


def downgrade() -> None:
    raise NotImplementedError("money is never forgotten")
