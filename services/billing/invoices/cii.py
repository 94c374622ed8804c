"""An invoice as EN 16931 XML (UN/CEFACT CII, which Factur-X embeds), written by the library `factur-x`.

The keys are the standard's own: BT-1 is its first business term.
"""

from typing import Any

from services.billing.details.parties import Party
from services.billing.invoices.document import percent, unit_price
from services.billing.invoices.repository import Invoice, Line
from shared.money import minor_digits

LEVEL = "en16931"
_PIECE = "C62"  # one, of anything
# Why there is no tax, in words and in the code list of the European Commission.
_EXEMPT = {
    "AE": {"BT-120": "Reverse charge", "BT-121": "VATEX-EU-AE"},
    "O": {"BT-120": "Not subject to VAT", "BT-121": "VATEX-EU-O"},
}


def can_write(invoice: Invoice) -> bool:
    """The standard knows two decimals and no more (BR-DEC-…)."""
    return minor_digits(invoice.currency) <= 2


def write(invoice: Invoice) -> bytes:
    from facturx import generate_cii_xml

    written: bytes = generate_cii_xml(_terms(invoice), level=LEVEL, check_xsd=False, check_schematron=None)
    return written


def _terms(invoice: Invoice) -> dict[str, Any]:
    text = invoice.text
    paid = invoice.due_at is None and invoice.kind == "invoice"
    found: dict[str, Any] = {
        "BT-1": invoice.number,
        "BT-2": invoice.issued_at.date(),
        "BT-3": "380" if invoice.kind == "invoice" else "381",
        "BT-5": invoice.currency,
        "BG-4": _party(invoice, invoice.seller, identifier=invoice.seller.code),
        "BG-7": _party(invoice, invoice.buyer),
        "BG-25": [_line(invoice, line) for line in invoice.lines],
        "BG-23": _taxes(invoice),
        "BT-72": invoice.issued_at.date(),  # delivered: the element it is in may not be empty
        "BT-106": text(invoice.net),
        "BT-109": text(invoice.net),
        "BT-110": text(invoice.tax),
        "BT-112": text(invoice.gross),
        "BT-113": text(invoice.gross if paid else 0),
        "BT-115": text(0 if paid else invoice.gross),
    }
    if invoice.due_at is not None:
        found["BT-9"] = invoice.due_at.date()
    elif not paid:
        found["BT-20"] = str(invoice.reason)  # what is to be paid back needs terms (BR-CO-25)
    if invoice.refers_to_number is not None and invoice.refers_to_issued_at is not None:
        found["BG-3"] = [{"BT-25": invoice.refers_to_number, "BT-26": invoice.refers_to_issued_at.date()}]
        found["BG-1"] = [{"BT-22": str(invoice.reason)}]
    return found


def _party(invoice: Invoice, party: Party, *, identifier: str | None = None) -> dict[str, Any]:
    told = {
        "name": party.name,
        "addr_l1": party.street,
        "postcode": party.postal_code,
        "city": party.city,
        "country_code": party.country,
        # What is outside of VAT must name no VAT id (BR-O-02).
        "vat_identifier": None if invoice.tax_category == "O" else party.vat_id,
        "legal_identifier": getattr(party, "registration", None),
        "identifiers": {None: identifier} if identifier else None,
    }
    if party.email:
        told |= {"einvoicing_addr": party.email, "einvoicing_addr_schemeid": "EM"}
    return {name: value for name, value in told.items() if value}


def _line(invoice: Invoice, line: Line) -> dict[str, Any]:
    """The price is that of all of them, by as many: so price and amount agree to the minor unit."""
    found: dict[str, Any] = {
        "BT-126": str(line.position),
        "BT-153": line.description,
        "BT-129": str(line.quantity),
        "BT-130": _PIECE,
        "BT-131": invoice.text(line.net),
        "BT-151": invoice.tax_category,
    }
    exact = unit_price(invoice, line)
    if len(exact.partition(".")[2]) <= minor_digits(invoice.currency):
        found["BT-146"] = exact
    else:
        found |= {"BT-146": invoice.text(abs(line.net)), "BT-149": str(abs(line.quantity))}
    if invoice.tax_category != "O":
        found["BT-152"] = percent(line.tax_rate)
    if line.period_from is not None:
        found["BT-134"] = line.period_from
    if line.period_to is not None:
        found["BT-135"] = line.period_to
    return found


def _taxes(invoice: Invoice) -> list[dict[str, str]]:
    """One entry a rate (BG-23)."""
    found = []
    for rate in sorted({line.tax_rate for line in invoice.lines}):
        lines = [line for line in invoice.lines if line.tax_rate == rate]
        told = {
            "BT-116": invoice.text(sum(line.net for line in lines)),
            "BT-117": invoice.text(sum(line.tax for line in lines)),
            "BT-118": str(invoice.tax_category),
            **_EXEMPT.get(invoice.tax_category, {}),
        }
        if invoice.tax_category != "O":
            told["BT-119"] = percent(rate)
        found.append(told)
    return found
