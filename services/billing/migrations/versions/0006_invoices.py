"""Invoices, their numbers and documents, and who they are made out to."""

from alembic import op

from shared.db.rls import append_only, open_table, protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _details()
    op.execute("CREATE TABLE issuer (code text PRIMARY KEY, last bigint NOT NULL CHECK (last >= 0))")
    open_table("issuer")
    _invoice()
    _invoice_line()
    _invoice_document()


def _details() -> None:
    # What the tenant's own events say; what its managers entered, if they did.
    op.execute(
        """
        CREATE TABLE tenant_card (
            tenant_id uuid PRIMARY KEY,
            name text NOT NULL,
            email text NOT NULL,
            locale text NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE billing_details (
            tenant_id uuid PRIMARY KEY,
            details jsonb NOT NULL,
            updated_at timestamptz NOT NULL,
            updated_by uuid
        )
        """
    )
    protect("tenant_card")
    protect("billing_details")


def _invoice() -> None:
    op.execute(
        """
        CREATE TABLE invoice (
            id uuid PRIMARY KEY,
            tenant_id uuid NOT NULL,
            issuer text NOT NULL REFERENCES issuer,
            sequence bigint NOT NULL CHECK (sequence > 0),
            number text NOT NULL,
            kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
            status text NOT NULL CHECK (status IN ('open', 'paid', 'void', 'credited')),
            issued_at timestamptz NOT NULL,
            due_at timestamptz,
            currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
            seller jsonb NOT NULL,
            buyer jsonb NOT NULL,
            tax_category text NOT NULL CHECK (tax_category IN ('S', 'AE', 'O')),
            net bigint NOT NULL,
            tax bigint NOT NULL,
            gross bigint NOT NULL CHECK (gross >= 0 AND gross = net + tax),
            refers_to uuid REFERENCES invoice,
            reason text,
            payment_id uuid CONSTRAINT invoice_payment UNIQUE,
            paid_at timestamptz,
            UNIQUE (issuer, sequence),
            UNIQUE (issuer, number),
            CHECK ((kind = 'credit_note') = (refers_to IS NOT NULL AND reason IS NOT NULL)),
            CHECK (kind = 'invoice' OR (status = 'paid' AND payment_id IS NULL)),
            CHECK (status <> 'open' OR (payment_id IS NULL AND due_at IS NOT NULL))
        )
        """
    )
    op.execute("CREATE INDEX invoice_newest ON invoice (tenant_id, issued_at DESC, id DESC)")
    op.execute("CREATE INDEX invoice_credits ON invoice (refers_to) WHERE refers_to IS NOT NULL")
    protect("invoice")
    # An invoice that went out stays as it was: only an open one may be paid, voided or credited.
    op.execute(
        """
        CREATE FUNCTION keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF OLD.status = 'open' AND NEW.status IN ('paid', 'void', 'credited')
                    AND (NEW.status = 'paid' OR NEW.payment_id IS NULL)
                    AND to_jsonb(OLD) - ARRAY['status', 'payment_id', 'paid_at']
                        = to_jsonb(NEW) - ARRAY['status', 'payment_id', 'paid_at']
                THEN
                    RETURN NEW;
                END IF;
            END IF;
            RAISE EXCEPTION 'an issued invoice does not change' USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER keep_invoice BEFORE UPDATE OR DELETE ON invoice FOR EACH ROW EXECUTE FUNCTION keep_invoice()"
    )
    op.execute("CREATE TRIGGER keep_invoices BEFORE TRUNCATE ON invoice EXECUTE FUNCTION keep_invoice()")


def _invoice_line() -> None:
    op.execute(
        """
        CREATE TABLE invoice_line (
            tenant_id uuid NOT NULL,
            invoice_id uuid NOT NULL REFERENCES invoice,
            position int NOT NULL CHECK (position > 0),
            description text NOT NULL,
            quantity bigint NOT NULL CHECK (quantity <> 0),
            unit_price bigint NOT NULL CHECK (unit_price >= 0),
            net bigint NOT NULL,
            tax_rate int NOT NULL CHECK (tax_rate >= 0),
            tax bigint NOT NULL,
            period_from date,
            period_to date,
            credits int,
            PRIMARY KEY (invoice_id, position)
        )
        """
    )
    protect("invoice_line")
    append_only("invoice_line")
    # At the commit, whoever wrote it: lines sum to their invoice, and credit notes never exceed theirs.
    op.execute(
        """
        CREATE FUNCTION check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (NEW.net, NEW.tax) IS DISTINCT FROM
                (SELECT (sum(net)::bigint, sum(tax)::bigint) FROM invoice_line WHERE invoice_id = NEW.id)
            THEN
                RAISE EXCEPTION 'the lines of invoice % do not sum to it', NEW.number USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.refers_to IS NOT NULL AND (SELECT sum(gross) FROM invoice WHERE refers_to = NEW.refers_to)
                > (SELECT gross FROM invoice WHERE id = NEW.refers_to AND kind = 'invoice')
            THEN
                RAISE EXCEPTION '% credits more than was charged', NEW.number USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER check_invoice AFTER INSERT ON invoice DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION check_invoice()"
    )


def _invoice_document() -> None:
    op.execute(
        """
        CREATE TABLE invoice_document (
            invoice_id uuid PRIMARY KEY REFERENCES invoice,
            tenant_id uuid NOT NULL,
            sha256 text NOT NULL,
            content bytea NOT NULL,
            made_at timestamptz NOT NULL
        )
        """
    )
    protect("invoice_document")
    append_only("invoice_document")


def downgrade() -> None:
    raise NotImplementedError("invoices are never dropped")
