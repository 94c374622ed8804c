"""A notice in words, from its kind and data: the same row speaks to everybody in their language. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

from services.gateway.notifications.models import Notification
from services.gateway.notifications.rules import metric_of
from services.gateway.notifications.texts import Texts, texts_of
from shared.events import Metric

Data = dict[str, Any]
_BYTES: frozenset[Metric] = frozenset({"storage", "traffic", "disk"})


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    body: str


def words_of(kind: str, data: Data, texts: Texts, zone: str) -> Words:
    """Dates are of the time zone. Raises KeyError where the kind is unknown or its data is not all there."""
    return _SPEAKERS.get(kind, _threshold)(kind, data, texts, zone)


def _threshold(kind: str, data: Data, texts: Texts, _zone: str) -> Words:
    metric = metric_of(kind)
    level = kind.removeprefix(f"{metric}_")
    percent, used, limit, amount = data["percent"], data["used"], data["limit"], data["amount"]
    called = {"metric": texts.subjects[metric]}
    if limit is None or percent is None:
        reached = _quantity(texts, metric, amount or 0) if percent is None else texts.share_of(percent)
        return Words(texts.passed.format(**called, amount=reached), _used(texts, metric, used, limit, left=False))
    body = [_used(texts, metric, used, limit, left=level != "full"), *_consequence(texts, metric, level)]
    title = {"warning": texts.share, "critical": texts.critical, "full": texts.full}[level]
    return Words(title.format(**called, percent=texts.share_of(percent)), " ".join(body))


def _used(texts: Texts, metric: Metric, used: int, limit: int | None, *, left: bool) -> str:
    amount = _quantity(texts, metric, used)
    if limit is None:
        return texts.used.format(used=amount)
    whole = _quantity(texts, metric, limit)
    if not left:
        return texts.used_of.format(used=amount, limit=whole)
    return texts.used_left.format(used=amount, limit=whole, left=_quantity(texts, metric, max(0, limit - used)))


def _consequence(texts: Texts, metric: Metric, level: str) -> list[str]:
    """What follows at the limit, and shortly before it."""
    if level == "warning" or metric == "disk":
        return []
    if metric in {"traffic", "requests"}:
        return [texts.monthly]
    if level == "critical":
        return [texts.near] if metric in {"storage", "images"} else []
    found: str = getattr(texts, f"full_{metric}")
    return [found]


def _quantity(texts: Texts, metric: Metric, amount: int) -> str:
    return texts.size_of(amount) if metric in _BYTES else texts.number(amount)


def _paid(_kind: str, data: Data, texts: Texts, _zone: str) -> Words:
    if data["plan"]:
        return Words(texts.paid, texts.paid_plan.format(amount=_money(data, texts), plan=_plan(data["plan"])))
    return Words(texts.paid, texts.paid_body.format(amount=_money(data, texts)))


def _failed(_kind: str, data: Data, texts: Texts, _zone: str) -> Words:
    return Words(texts.failed, texts.failed_body.format(amount=_money(data, texts)))


def _refunded(_kind: str, data: Data, texts: Texts, _zone: str) -> Words:
    where = {"provider": texts.refunded_provider, "credit": texts.refunded_credit, "due": texts.refunded_due}
    return Words(texts.refunded, where[data["to"]].format(amount=_money(data, texts)))


def _due(_kind: str, data: Data, texts: Texts, zone: str) -> Words:
    date = texts.day_of(datetime.fromisoformat(data["ends_at"]), zone)
    body = texts.due_body.format(number=data["number"], amount=_money(data, texts), date=date)
    return Words(texts.due_first if data["reminder"] == 1 else texts.due_again, f"{body} {texts.due_else}")


def _changed(_kind: str, data: Data, texts: Texts, _zone: str) -> Words:
    """With limits that fall: which, and that nothing is lost by it."""
    plan, lower = _plan(data["plan"]), data["lower"]
    said = texts.plan_unpaid if data["unpaid"] else texts.plan_body
    body = [said.format(previous=_plan(data["previous_plan"]), plan=plan)]
    if lower:
        fallen: list[Metric] = [metric for metric in get_args(Metric) if metric in lower]
        limits = (f"{texts.subjects[metric]} {_quantity(texts, metric, lower[metric])}" for metric in fallen)
        body += [texts.plan_lower.format(limits=texts.comma.join(limits)), texts.plan_kept]
    return Words(texts.plan.format(plan=plan), " ".join(body))


def _exported(_kind: str, data: Data, texts: Texts, zone: str) -> Words:
    until = texts.day_of(datetime.fromisoformat(data["expires_at"]), zone)
    body = texts.export_body.format(size=texts.size_of(data["size"]), date=until)
    return Words(texts.export, body if data["complete"] else f"{body} {texts.export_lacks}")


def _not_exported(_kind: str, _data: Data, texts: Texts, _zone: str) -> Words:
    return Words(texts.export_failed, texts.export_failed_body)


def _money(data: Data, texts: Texts) -> str:
    return texts.sum_of(data["amount"], data["currency"])


def _plan(code: str) -> str:
    return code.capitalize()


_SPEAKERS: dict[str, Callable[[str, Data, Texts, str], Words]] = {
    "payment_completed": _paid,
    "payment_failed": _failed,
    "payment_refunded": _refunded,
    "invoice_due": _due,
    "subscription_changed": _changed,
    "export_ready": _exported,
    "export_failed": _not_exported,
}


def told_in(language: str, notification: Notification) -> Notification:
    """In the reader's language; as it was written where its data is older than these words."""
    try:
        words = words_of(notification.kind, notification.data, texts_of(language), notification.timezone)
    except KeyError:
        return notification
    return replace(notification, title=words.title, body=words.body)
