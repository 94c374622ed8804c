from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from services.billing.details.parties import Buyer, Seller, printable
from services.billing.invoices.document import percent
from services.billing.invoices.repository import Invoice, Line
from services.billing.invoices.rules import Kind, Status
from services.billing.invoices.tax import Category


class InvoiceOut(BaseModel):
    """Amounts are decimal text of `currency`. `credited` is what credit notes gave back of it."""

    id: UUID
    number: str
    kind: Kind
    status: Status
    issued_at: datetime
    due_at: datetime | None
    paid_at: datetime | None
    currency: str
    net: str
    tax: str
    gross: str
    credited: str
    refers_to: UUID | None
    payment_id: UUID | None

    @classmethod
    def fields(cls, invoice: Invoice) -> dict[str, Any]:
        told = {name: getattr(invoice, name) for name in InvoiceOut.model_fields}
        return told | {name: invoice.text(told[name]) for name in ("net", "tax", "gross", "credited")}

    @classmethod
    def of(cls, invoice: Invoice) -> Self:
        return cls(**cls.fields(invoice))


class InvoiceLineOut(BaseModel):
    """`tax_rate` in percent. `credits` is the line of the invoice a credit note's line gives back."""

    position: int
    description: str
    quantity: int
    unit_price: str
    net: str
    tax_rate: str
    tax: str
    credited: str
    period_from: date | None
    period_to: date | None
    credits: int | None

    @classmethod
    def of(cls, invoice: Invoice, line: Line) -> Self:
        told = {name: getattr(line, name) for name in cls.model_fields}
        money = {name: invoice.text(told[name]) for name in ("unit_price", "net", "tax", "credited")}
        return cls(**{**told, **money, "tax_rate": percent(line.tax_rate)})


class InvoiceWholeOut(InvoiceOut):
    """`tax_category`: S is the standard rate, AE reverse charge, O outside the scope of VAT."""

    seller: Seller
    buyer: Buyer
    tax_category: Category
    reason: str | None
    lines: list[InvoiceLineOut]

    @classmethod
    def of(cls, invoice: Invoice) -> "InvoiceWholeOut":
        # Seller and buyer were checked when they were entered; what stands in an old invoice is shown whatever it is.
        return cls.model_construct(
            **cls.fields(invoice),
            seller=invoice.seller,
            buyer=invoice.buyer,
            tax_category=invoice.tax_category,
            reason=invoice.reason,
            lines=[InvoiceLineOut.of(invoice, line) for line in invoice.lines],
        )


class CreditLineIn(BaseModel):
    """`amount` is decimal text, tax included, below zero for a line that is."""

    position: int = Field(ge=1)
    amount: str = Field(max_length=24)


class CreditNoteIn(BaseModel):
    """Without `lines` all that is left is given back."""

    tenant_id: UUID
    reason: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(printable)]
    lines: list[CreditLineIn] | None = Field(default=None, min_length=1, max_length=500)
