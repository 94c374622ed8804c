"""All SQL on invoices. Runs inside the caller's transaction."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.billing.details.parties import Buyer, Seller
from services.billing.invoices.rules import Amounts, Kind, Status
from services.billing.invoices.tax import Category
from shared.money import Money

# The series' row is the caller's until the commit: whoever comes next waits, and a rollback gives the number back.
_TAKE_NUMBER = """
    INSERT INTO issuer AS i (code, last) VALUES ($1, 1)
    ON CONFLICT (code) DO UPDATE SET last = i.last + 1 RETURNING last
"""
_COLUMNS = (
    *("id", "tenant_id", "issuer", "sequence", "number", "kind", "status", "issued_at", "due_at", "currency"),
    *("seller", "buyer", "tax_category", "net", "tax", "gross", "refers_to", "reason", "payment_id", "paid_at"),
)
_INSERT = f"INSERT INTO invoice ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(_COLUMNS)))})"
_INSERT_LINES = """
    INSERT INTO invoice_line (tenant_id, invoice_id, position, description, quantity, unit_price, net, tax_rate, tax,
        period_from, period_to, credits)
    SELECT $1, $2, l.* FROM unnest($3::int[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::int[],
        $9::bigint[], $10::date[], $11::date[], $12::int[]) AS l
"""
# What is credited of a line is the sum over the credit notes' lines that name it.
_SELECT = """
    SELECT i.*, r.number AS refers_to_number, r.issued_at AS refers_to_issued_at,
        coalesce((SELECT sum(c.gross)::bigint FROM invoice c WHERE c.refers_to = i.id), 0) AS credited,
        (
            SELECT jsonb_agg(to_jsonb(l) - ARRAY['tenant_id', 'invoice_id'] || jsonb_build_object('credited', coalesce((
                SELECT sum(cl.net + cl.tax)::bigint
                FROM invoice c JOIN invoice_line cl ON cl.invoice_id = c.id
                WHERE c.refers_to = i.id AND cl.credits = l.position
            ), 0)) ORDER BY l.position)
            FROM invoice_line l WHERE l.invoice_id = i.id
        ) AS lines
    FROM invoice i LEFT JOIN invoice r ON r.id = i.refers_to
"""
_PAGE = f"""
    {_SELECT}
    WHERE i.tenant_id = $1 AND ($2::text IS NULL OR i.kind = $2) AND ($3::text IS NULL OR i.status = $3)
        AND ($4::timestamptz IS NULL OR i.issued_at >= $4) AND ($5::timestamptz IS NULL OR i.issued_at < $5)
        AND ($6::timestamptz IS NULL OR (i.issued_at, i.id) < ($6, $7))
    ORDER BY i.issued_at DESC, i.id DESC LIMIT $8
"""
_CHANGE = "UPDATE invoice SET status = $2, payment_id = $3, paid_at = $4 WHERE id = $1"
_VOID = "UPDATE invoice SET status = 'void' WHERE id = $1 AND status = 'open'"
_KEEP = """
    INSERT INTO invoice_document (invoice_id, tenant_id, sha256, content, made_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (invoice_id) DO NOTHING RETURNING 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`net` and `tax` in minor units, `tax_rate` in basis points. `credits` is the position it gives back of the
    invoice a credit note refers to, `credited` what credit notes gave back of it, tax included.
    """

    position: int
    description: str
    quantity: int
    unit_price: int
    net: int
    tax_rate: int
    tax: int
    period_from: date | None = None
    period_to: date | None = None
    credits: int | None = None
    credited: int = 0

    @property
    def amounts(self) -> Amounts:
        return Amounts(self.net, self.tax)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """As it was issued, but for `status`, `payment_id`, `paid_at` and `credited`. One that was paid before it was
    issued is never due.
    """

    id: UUID
    tenant_id: UUID
    issuer: str
    sequence: int
    number: str
    kind: Kind
    status: Status
    issued_at: datetime
    due_at: datetime | None
    currency: str
    seller: Seller
    buyer: Buyer
    tax_category: Category
    net: int
    tax: int
    gross: int
    refers_to: UUID | None = None
    refers_to_number: str | None = None
    refers_to_issued_at: datetime | None = None
    reason: str | None = None
    payment_id: UUID | None = None
    paid_at: datetime | None = None
    credited: int = 0
    lines: tuple[Line, ...] = field(default=())

    def text(self, amount: int) -> str:
        """Decimal text of the invoice's currency."""
        return Money(amount, self.currency).text


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; `since` counts in, `until` does not."""

    kind: Kind | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Document:
    content: bytes
    sha256: str


async def take_number(connection: Any, issuer: str) -> int:
    """1, 2, 3 … without a gap, in the order of commits."""
    number: int = await connection.fetchval(_TAKE_NUMBER, issuer)
    return number


async def insert(connection: Any, invoice: Invoice) -> None:
    told = {name: getattr(invoice, name) for name in _COLUMNS}
    told |= {name: told[name].model_dump(mode="json") for name in ("seller", "buyer")}
    await connection.execute(_INSERT, *told.values())
    columns = [[getattr(line, name) for line in invoice.lines] for name in Line.__slots__ if name != "credited"]
    await connection.execute(_INSERT_LINES, invoice.tenant_id, invoice.id, *columns)


async def find(connection: Any, invoice_id: UUID) -> Invoice | None:
    row = await connection.fetchrow(f"{_SELECT} WHERE i.id = $1", invoice_id)
    return None if row is None else _read(row)


async def lock(connection: Any, invoice_id: UUID) -> Invoice | None:
    """The row is the caller's until the commit. Read in a statement of its own: a snapshot from before the lock would
    not show the credit notes that were waited for.
    """
    await connection.execute("SELECT 1 FROM invoice WHERE id = $1 FOR UPDATE", invoice_id)
    return await find(connection, invoice_id)


async def lock_payment(connection: Any, payment_id: UUID) -> None:
    """Nobody else invoices this payment until the commit; there may be no row to lock yet."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"invoice of {payment_id}")


async def find_for(connection: Any, payment_id: UUID) -> Invoice | None:
    row = await connection.fetchrow(f"{_SELECT} WHERE i.payment_id = $1", payment_id)
    return None if row is None else _read(row)


async def list_newest(
    connection: Any, tenant: UUID, wanted: Filter, limit: int, after: tuple[datetime, UUID] | None
) -> list[Invoice]:
    at, last = after or (None, None)
    narrowed = (wanted.kind, wanted.status, wanted.since, wanted.until)
    return [_read(row) for row in await connection.fetch(_PAGE, tenant, *narrowed, at, last, limit)]


async def change(
    connection: Any, invoice_id: UUID, status: Status, payment_id: UUID | None = None, paid_at: datetime | None = None
) -> None:
    await connection.execute(_CHANGE, invoice_id, status, payment_id, paid_at)


async def void_open(connection: Any, invoice_id: UUID) -> None:
    """Where it is still open: what was paid or credited meanwhile asks for nothing any more."""
    await connection.execute(_VOID, invoice_id)


async def find_document(connection: Any, invoice_id: UUID) -> Document | None:
    row = await connection.fetchrow("SELECT content, sha256 FROM invoice_document WHERE invoice_id = $1", invoice_id)
    return None if row is None else Document(**row)


async def keep_document(connection: Any, invoice: Invoice, document: Document, at: datetime) -> bool:
    """False where there is one: the first stays."""
    told = (invoice.id, invoice.tenant_id, document.sha256, document.content, at)
    return bool(await connection.fetchval(_KEEP, *told))


def _read(row: Any) -> Invoice:
    told = dict(row)
    told["seller"], told["buyer"] = Seller.model_construct(**told["seller"]), Buyer.model_construct(**told["buyer"])
    told["lines"] = tuple(_read_line(line) for line in told["lines"] or ())
    return Invoice(**told)


def _read_line(told: dict[str, Any]) -> Line:
    for name in ("period_from", "period_to"):
        told[name] = date.fromisoformat(told[name]) if told[name] else None
    return Line(**told)
