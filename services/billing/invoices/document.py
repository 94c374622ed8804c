"""What the template sets, as text in the buyer's language."""

from typing import Any

from services.billing.details.parties import Party, Seller
from services.billing.invoices.labels import Labels, labels_of
from services.billing.invoices.repository import Invoice, Line
from services.billing.invoices.rules import half_up
from shared.money import minor_digits

# The first of them that has a sign sets it: Latin, Greek and Cyrillic look the same on every invoice.
FONTS = ("Libertinus Serif", "Noto Naskh Arabic", "Noto Serif Devanagari", "Noto Serif Thai")
# One code for the same idea, drawn as each country is used to.
_CHINESE, _JAPANESE = "Noto Serif CJK SC", "Noto Serif CJK JP"


def document_of(invoice: Invoice, *, english: bool = False) -> dict[str, Any]:
    """`english`: where the fonts of the buyer's language are not to be had."""
    language = "en" if english else invoice.buyer.language
    labels = labels_of(language)
    return {
        "language": language,
        "fonts": [*FONTS, *((_JAPANESE, _CHINESE) if language == "ja" else (_CHINESE, _JAPANESE))],
        "number": invoice.number,
        "currency": invoice.currency,
        "labels": {
            "title": labels.invoice if invoice.kind == "invoice" else labels.credit_note,
            **{name: getattr(labels, name) for name in ("bill_to", "description", "quantity", "unit_price")},
            **{name: getattr(labels, name) for name in ("tax", "amount", "total")},
        },
        "seller": _address(invoice.seller, None, labels),
        "buyer": _address(invoice.buyer, invoice.seller.country, labels),
        "footer": _footer(invoice.seller, labels),
        "facts": _facts(invoice, labels),
        "lines": [_line(invoice, line, labels) for line in invoice.lines],
        "sums": _sums(invoice, labels),
        "total": f"{labels.figure(invoice.text(invoice.gross))} {invoice.currency}",
        "notes": _notes(invoice, labels),
    }


def percent(rate: int) -> str:
    """Of basis points: 1900 is 19, 2550 is 25.5."""
    whole, rest = divmod(rate, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".")


def unit_price(invoice: Invoice, line: Line) -> str:
    """Net, as the law wants it: exact where it can be, else to a ten-thousandth of the currency's unit."""
    more = max(4 - minor_digits(invoice.currency), 0)
    digits = minor_digits(invoice.currency) + more
    found = abs(half_up(line.net * 10**more, line.quantity))
    whole, rest = divmod(found, 10**digits)
    fraction = f"{rest:0{digits}d}"
    least = minor_digits(invoice.currency)
    fraction = fraction[:least] + fraction[least:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def _address(party: Party, home: str | None, labels: Labels) -> list[str]:
    town = " ".join(part for part in (party.postal_code, party.city) if part)
    country = party.country if home is not None and (party.country != home or town) else None
    vat = f"{labels.vat_id} {party.vat_id}" if party.vat_id and home is not None else None
    return [part for part in (party.name, party.street, town, country, vat) if part]


def _footer(seller: Seller, labels: Labels) -> list[list[str]]:
    """Two lines."""
    town = " ".join(part for part in (seller.postal_code, seller.city, seller.country) if part)
    vat = f"{labels.vat_id} {seller.vat_id}" if seller.vat_id else None
    lines = (seller.name, seller.street, town), (vat, seller.registration, seller.email)
    return [[part for part in line if part] for line in lines]


def _facts(invoice: Invoice, labels: Labels) -> list[tuple[str, str]]:
    """Only what was so when it was issued: the document does not change when it is paid."""
    found = [(labels.number, invoice.number), (labels.date, f"{invoice.issued_at:%Y-%m-%d}")]
    if invoice.refers_to_number is not None:
        found.append((labels.credits, invoice.refers_to_number))
    elif invoice.due_at is not None:
        found.append((labels.due, f"{invoice.due_at:%Y-%m-%d}"))
    else:
        found.append((labels.paid, f"{invoice.issued_at:%Y-%m-%d}"))
    return found


def _line(invoice: Invoice, line: Line, labels: Labels) -> dict[str, str | None]:
    ends = [f"{day:%Y-%m-%d}" for day in (line.period_from, line.period_to) if day]
    return {
        "description": line.description,
        "period": " – ".join(ends) or None,
        "quantity": labels.figure(str(line.quantity)),
        "unit_price": labels.figure(unit_price(invoice, line)),
        "rate": f"{labels.figure(percent(line.tax_rate))} %",
        "net": labels.figure(invoice.text(line.net)),
    }


def _sums(invoice: Invoice, labels: Labels) -> list[tuple[str, str]]:
    rates: dict[int, int] = {}
    for line in invoice.lines:
        rates[line.tax_rate] = rates.get(line.tax_rate, 0) + line.tax
    taxes = [
        (f"{labels.tax} {labels.figure(percent(rate))} %", labels.figure(invoice.text(tax)))
        for rate, tax in sorted(rates.items())
    ]
    return [(labels.net, labels.figure(invoice.text(invoice.net))), *taxes]


def _notes(invoice: Invoice, labels: Labels) -> list[str]:
    notes = {"S": None, "AE": labels.reverse, "O": labels.outside}[invoice.tax_category]
    return [note for note in (invoice.reason, notes) if note]
