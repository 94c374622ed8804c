"""What a credit note gives back, line by line. Pure."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from services.billing.errors import CreditTooLarge
from services.billing.invoices import rules
from services.billing.invoices.repository import Invoice, Line
from services.billing.invoices.rules import Credit
from shared.ids import new_id


def credit_note(invoice: Invoice, wanted: Sequence[Credit] | int | None, reason: str, at: datetime) -> Invoice:
    """Without a number yet. Seller, buyer and tax are the invoice's, whatever has become of them since. Raises
    CreditTooLarge.
    """
    lines = _lines(invoice, wanted)
    net, tax = sum(line.net for line in lines), sum(line.tax for line in lines)
    if net + tax <= 0:
        raise CreditTooLarge("There is nothing left to give back.", invoice.text(invoice.gross - invoice.credited))
    return dataclasses.replace(
        invoice,
        id=new_id(),
        kind="credit_note",
        status="paid",
        issued_at=at,
        due_at=None,
        payment_id=None,
        paid_at=None,
        net=net,
        tax=tax,
        gross=net + tax,
        refers_to=invoice.id,
        refers_to_number=invoice.number,
        refers_to_issued_at=invoice.issued_at,
        reason=reason,
        credited=0,
        lines=lines,
    )


def _lines(invoice: Invoice, wanted: Sequence[Credit] | int | None) -> tuple[Line, ...]:
    left = [line.amounts.gross - line.credited for line in invoice.lines]
    if isinstance(wanted, int):
        wanted = [Credit(place, part) for place, part in enumerate(rules.shares(wanted, left), 1)]
    elif wanted is None:
        wanted = [Credit(place, part) for place, part in enumerate(left, 1)]
    before = {line.position: line for line in invoice.lines}
    if len({credit.position for credit in wanted}) < len(wanted) or any(c.position not in before for c in wanted):
        raise CreditTooLarge("Each line of the invoice can be named once.", invoice.text(sum(left)))
    lines: list[Line] = []
    for credit in (credit for credit in wanted if credit.gross != 0):
        line = before[credit.position]
        try:
            part = rules.give_back(line.amounts, line.credited, credit.gross)
        except ValueError:
            raise CreditTooLarge(
                f"Line {line.position} has not so much left to give back.", invoice.text(left[line.position - 1])
            ) from None
        lines.append(_credited(line, len(lines) + 1, part))
    return tuple(lines)


def _credited(line: Line, position: int, part: rules.Amounts) -> Line:
    """A line given back whole is its mirror; a part of one is one of so much."""
    given = dataclasses.replace(line, position=position, net=part.net, tax=part.tax, credits=line.position, credited=0)
    if part == line.amounts:
        return given
    return dataclasses.replace(given, quantity=-1 if part.net < 0 else 1, unit_price=abs(part.net))
