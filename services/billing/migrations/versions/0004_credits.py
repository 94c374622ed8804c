"""Credits in double entry, and views of ads.

Balances are moved by postings and by nothing else: neither role may write them, the trigger does. So they cannot say
anything but what the postings sum to, and a check on them is a check on every way of spending.
"""

from alembic import op

from shared.db.alembic_env import roles
from shared.db.rls import append_only, open_table, protect

revision = "0004"
down_revision = "0002"

_SOURCES = "'purchase', 'ad_reward', 'system_bonus', 'refund'"


def upgrade() -> None:
    _create_accounts()
    _create_books()
    _create_ads()
    op.execute(
        """
        CREATE TABLE credit_pack (
            code text NOT NULL,
            version int NOT NULL,
            digest text NOT NULL,
            definition jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (code, version)
        )
        """
    )
    open_table("credit_pack")
    tables = ("credit_account", "credit_grant", "credit_reservation", "credit_transaction", "credit_posting")
    for table in (*tables, "ad_view", "ad_verification"):
        protect(table)
    for table in ("credit_transaction", "credit_posting", "ad_verification"):
        append_only(table)
    _keep_balances()


def _create_accounts() -> None:
    # `last_at`: the ledger's time never runs backwards, whichever process writes.
    op.execute(
        """
        CREATE TABLE credit_account (
            tenant_id uuid PRIMARY KEY,
            timezone text NOT NULL DEFAULT 'UTC',
            available bigint NOT NULL DEFAULT 0 CONSTRAINT credit_never_negative CHECK (available >= 0),
            reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
            spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
            expired bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
            seq bigint NOT NULL DEFAULT 0,
            last_at timestamptz NOT NULL DEFAULT '1970-01-01Z',
            month text NOT NULL DEFAULT '1970-01',
            spent_month bigint NOT NULL DEFAULT 0 CHECK (spent_month >= 0)
        ) WITH (fillfactor = 50)
        """
    )
    op.execute(
        f"""
        CREATE TABLE credit_grant (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            source text NOT NULL CHECK (source IN ({_SOURCES})),
            amount bigint NOT NULL CHECK (amount > 0),
            remaining bigint NOT NULL DEFAULT 0 CHECK (remaining >= 0),
            held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
            exhausted boolean NOT NULL DEFAULT true,
            priority int NOT NULL,
            expires_at timestamptz,
            description text NOT NULL,
            created_at timestamptz NOT NULL,
            CHECK (remaining + held <= amount)
        ) WITH (fillfactor = 50)
        """
    )
    # On a flag and not on `remaining`: spending from a grant must not write the index.
    op.execute(
        "CREATE INDEX credit_grant_burn ON credit_grant (tenant_id, priority, expires_at, created_at, id)"
        " WHERE NOT exhausted"
    )
    op.execute(
        "CREATE INDEX credit_grant_due ON credit_grant (expires_at) WHERE NOT exhausted AND expires_at IS NOT NULL"
    )


def _create_books() -> None:
    op.execute(
        """
        CREATE TABLE credit_reservation (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            use text NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            cost bigint NOT NULL CHECK (cost > 0),
            holds jsonb NOT NULL,
            status text NOT NULL CHECK (status IN ('open', 'settled', 'released', 'expired')),
            settled bigint NOT NULL DEFAULT 0 CHECK (settled BETWEEN 0 AND quantity),
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            closed_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX credit_reservation_due ON credit_reservation (expires_at) WHERE status = 'open'")
    op.execute("CREATE INDEX credit_reservation_open ON credit_reservation (tenant_id) WHERE status = 'open'")
    op.execute(
        f"""
        CREATE TABLE credit_transaction (
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL CHECK (seq > 0),
            id uuid NOT NULL,
            type text NOT NULL CHECK (type IN ('grant', 'spend', 'reserve', 'settle', 'release', 'expire')),
            key text,
            said jsonb,
            source text CHECK (source IN ({_SOURCES})),
            use text,
            quantity bigint,
            amount bigint NOT NULL,
            subject uuid,
            description text,
            by text,
            at timestamptz NOT NULL,
            available_after bigint NOT NULL CHECK (available_after >= 0),
            reserved_after bigint NOT NULL CHECK (reserved_after >= 0),
            PRIMARY KEY (tenant_id, seq)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX credit_transaction_key ON credit_transaction (tenant_id, key)")
    op.execute("CREATE INDEX credit_transaction_at ON credit_transaction (tenant_id, at, seq)")
    op.execute(
        f"""
        CREATE TABLE credit_posting (
            tenant_id uuid NOT NULL,
            seq bigint NOT NULL,
            grant_id uuid NOT NULL,
            account text NOT NULL CHECK (account IN ('available', 'reserved', 'spent', 'expired', {_SOURCES})),
            amount bigint NOT NULL CHECK (amount <> 0),
            PRIMARY KEY (tenant_id, seq, grant_id, account),
            FOREIGN KEY (tenant_id, seq) REFERENCES credit_transaction
        )
        """
    )


def _create_ads() -> None:
    op.execute(
        """
        CREATE TABLE ad_view (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            user_id uuid NOT NULL,
            status text NOT NULL CHECK (status IN ('open', 'ended', 'waiting', 'completed', 'expired')),
            started_at timestamptz NOT NULL,
            completed_at timestamptz,
            seconds int CHECK (seconds >= 0),
            credits int CHECK (credits >= 0),
            reason text,
            day date,
            number int CHECK (number > 0),
            CHECK ((day IS NULL) = (number IS NULL))
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX ad_view_open ON ad_view (tenant_id) WHERE status = 'open'")
    op.execute("CREATE UNIQUE INDEX ad_view_rewarded ON ad_view (tenant_id, day, number) WHERE day IS NOT NULL")
    op.execute(
        """
        CREATE TABLE ad_verification (
            transaction_id text PRIMARY KEY,
            tenant_id uuid NOT NULL,
            view_id uuid NOT NULL UNIQUE REFERENCES ad_view,
            network text NOT NULL,
            key_id bigint NOT NULL,
            at timestamptz NOT NULL
        )
        """
    )


def _keep_balances() -> None:
    both = ", ".join(f'"{role}"' for role in roles())
    for table in ("credit_account", "credit_grant"):
        op.execute(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {both}")
        # The trigger runs as the tables' owner, on whom row security is forced too.
        op.execute(f"CREATE POLICY books ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")
    op.execute(
        "GRANT INSERT (tenant_id, timezone), UPDATE (timezone, last_at, month, spent_month)"
        f" ON credit_account TO {both}"
    )
    op.execute(
        "GRANT INSERT (id, tenant_id, source, amount, priority, expires_at, description, created_at)"
        f" ON credit_grant TO {both}"
    )
    op.execute(
        """
        CREATE FUNCTION post_credits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
        AS $$
        DECLARE
            changed bigint;
        BEGIN
            -- What moves, moves within one grant: so each grant, and with it each transaction, sums to zero.
            IF EXISTS (SELECT FROM posted GROUP BY tenant_id, seq, grant_id HAVING sum(amount) <> 0) THEN
                RAISE EXCEPTION 'the postings of a credit transaction sum to zero'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'credit_posting_balanced';
            END IF;
            UPDATE credit_grant AS g SET remaining = g.remaining + p.available, held = g.held + p.reserved,
                exhausted = g.remaining + p.available = 0
            FROM (
                SELECT tenant_id, grant_id,
                    coalesce(sum(amount) FILTER (WHERE account = 'available'), 0) AS available,
                    coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0) AS reserved
                FROM posted GROUP BY tenant_id, grant_id
            ) AS p
            WHERE g.id = p.grant_id AND g.tenant_id = p.tenant_id;
            GET DIAGNOSTICS changed = ROW_COUNT;
            IF changed <> (SELECT count(DISTINCT grant_id) FROM posted) THEN
                RAISE EXCEPTION 'a posting names a grant that is not there'
                    USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'credit_posting_grant';
            END IF;
            -- A transaction is posted whole, in its turn, and never added to.
            UPDATE credit_account AS a SET available = a.available + p.available, reserved = a.reserved + p.reserved,
                spent = a.spent + p.spent, expired = a.expired + p.expired, seq = p.last
            FROM (
                SELECT tenant_id, min(seq) AS first, max(seq) AS last, count(DISTINCT seq) AS transactions,
                    coalesce(sum(amount) FILTER (WHERE account = 'available'), 0) AS available,
                    coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0) AS reserved,
                    coalesce(sum(amount) FILTER (WHERE account = 'spent'), 0) AS spent,
                    coalesce(sum(amount) FILTER (WHERE account = 'expired'), 0) AS expired
                FROM posted GROUP BY tenant_id
            ) AS p
            WHERE a.tenant_id = p.tenant_id AND p.first = a.seq + 1 AND p.last = a.seq + p.transactions;
            GET DIAGNOSTICS changed = ROW_COUNT;
            IF changed <> (SELECT count(DISTINCT tenant_id) FROM posted) THEN
                RAISE EXCEPTION 'credit transactions follow each other without a gap'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'credit_posting_order';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER post_credits AFTER INSERT ON credit_posting REFERENCING NEW TABLE AS posted"
        " FOR EACH STATEMENT EXECUTE FUNCTION post_credits()"
    )


def downgrade() -> None:
    raise NotImplementedError("credits are never dropped")
