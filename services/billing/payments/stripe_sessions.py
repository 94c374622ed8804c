"""What Stripe's Checkout Sessions say, and its way to count money. Without the SDK: events are read by it, too."""

from typing import Any
from uuid import UUID

from services.billing.payments.provider import ProviderRefused, ProviderSilent
from services.billing.payments.rules import Claim, Status
from shared.money import Money, minor_digits

# How many decimals Stripe counts in, where that is not ISO 4217's minor unit (docs.stripe.com/currencies).
_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0, "IQD": 3}
_COARSE = {"BHD", "IQD", "JOD", "KWD", "OMR", "TND"}  # three decimals, of which the last must be 0


def claim_of(session: Any) -> Claim:
    """Reads a Checkout Session, from an answer or an event. Raises ProviderSilent when it makes no sense."""
    try:
        told = session["metadata"] or {}
        currency = str(session["currency"]).upper()
        return Claim(
            payment_id=str(UUID(session["client_reference_id"])),
            external_id=_id(session["id"]),
            status=status_of(session),
            money=money_of(session["amount_total"], currency),
            transaction_id=_intent(session),
            team=told["team"] if "team" in told else None,  # noqa: SIM401 - the SDK's objects have no get
            provider="stripe",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProviderSilent(f"cannot be read: {error}") from error


def status_of(session: Any) -> Status:
    """Complete and not paid: the bank takes its time, or has refused in the end."""
    if session["status"] == "expired":
        return "cancelled"
    if session["status"] == "open":
        return "pending"
    if session["status"] != "complete":
        raise ValueError(f"status {session['status']!r}")
    if session["payment_status"] in {"paid", "no_payment_required"}:
        return "completed"
    intent = session["payment_intent"]
    failed = not isinstance(intent, str | None) and intent["status"] in {"requires_payment_method", "canceled"}
    return "failed" if failed else "processing"


def stripe_amount(money: Money) -> int:
    """In Stripe's unit. Raises ProviderRefused for what Stripe cannot take."""
    ours = minor_digits(money.currency)
    amount: int
    amount, rest = divmod(money.amount * 10 ** _DIGITS.get(money.currency, ours), 10**ours)
    if rest or (money.currency in _COARSE and amount % 10):
        raise ProviderRefused(f"{money.text} {money.currency} is finer than Stripe takes")
    return amount


def money_of(amount: Any, currency: str) -> Money:
    """Raises ValueError for what is no amount of ours."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise ValueError("not an amount")  # noqa: TRY004 - to whoever reads it, it is the value that is wrong
    ours = minor_digits(currency)
    value, rest = divmod(amount * 10**ours, 10 ** _DIGITS.get(currency, ours))
    if rest:
        raise ValueError(f"{amount} of Stripe's {currency} is finer than ISO 4217")
    return Money(value, currency)


def _intent(session: Any) -> str | None:
    intent = session["payment_intent"]
    found = intent if isinstance(intent, str | None) else intent["id"]
    return None if found is None else _id(found)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or "\0" in value:
        raise ValueError("not an id")
    return value
