"""What the provider says of a payment, and the lies it tells when told to."""

import json
import secrets
from datetime import UTC, datetime

from deploy.sandbox_payments.book import Behaviour, Event, Payment


def events_of(payment: Payment, behaviour: Behaviour) -> list[Event]:
    """Processing, then the end; with copies, in the order asked for; forgery and lie before the truth."""
    honest = [_event(payment, "processing"), _event(payment, payment.status)]
    copies = [event for event in honest for _ in range(behaviour.deliveries)]
    if behaviour.order == "reverse":
        copies.reverse()
    bad = []
    if behaviour.forged:
        bad.append(Event(honest[-1].id, honest[-1].body, forged=True))
    if behaviour.wrong_amount is not None:
        bad.append(_event(payment, payment.status, amount=behaviour.wrong_amount))
    return bad + copies


def _event(payment: Payment, status: str, **lies: str) -> Event:
    told = payment.public()
    told.pop("completed_at")
    data = {**told, "status": status, "occurred_at": datetime.now(UTC).isoformat(), **lies}
    return Event(f"evt_{secrets.token_hex(12)}", json.dumps({"type": f"payment.{status}", "data": data}))
