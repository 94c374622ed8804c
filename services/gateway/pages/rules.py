"""How figures and refusals look to people. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from shared.money import Money
from shared.sizes import format_bytes

Level = Literal["ok", "warn", "full"]

WARN_ABOVE = 80  # percent


@dataclass(frozen=True, slots=True)
class Quota:
    """Used bytes of a limit (None: unlimited), with the words for it."""

    used: int
    limit: int | None

    @property
    def level(self) -> Level:
        if self.limit is None:
            return "ok"
        if self.used >= self.limit:
            return "full"
        return "warn" if self.used * 100 > self.limit * WARN_ABOVE else "ok"

    @property
    def percent(self) -> float:
        """Rounded down to a tenth: 99.99 % is not yet full."""
        if self.limit is None:
            return 0.0
        return min(self.used * 1000 // self.limit, 1000) / 10 if self.limit > 0 else 100.0

    @property
    def percent_text(self) -> str:
        return "" if self.limit is None else f"{self.percent:g} %"

    @property
    def used_text(self) -> str:
        return format_bytes(self.used)

    @property
    def limit_text(self) -> str:
        return "unlimited" if self.limit is None else format_bytes(self.limit)

    @property
    def available_text(self) -> str:
        return "Unlimited" if self.limit is None else format_bytes(max(0, self.limit - self.used))


@dataclass(frozen=True, slots=True)
class Message:
    tone: Literal["good", "bad"]
    text: str


_MESSAGES = {
    "uploaded": Message("good", "The file is stored."),
    "deleted": Message("good", "The file is deleted."),
    "renamed": Message("good", "The file has its new name."),
    "restored": Message("good", "The file is back."),
    "shared": Message("good", "The link is ready to be copied."),
    "revoked": Message("good", "The link opens nothing any more."),
    "invalid_name": Message("bad", "That name cannot be used."),
    "paid": Message("good", "Thank you. Your plan changes as soon as the payment is confirmed."),
    "quota_exceeded": Message("bad", "This file does not fit. Upgrade your plan or delete files."),
    "file_too_large": Message("bad", "This file is larger than your plan allows for one file."),
    "type_not_allowed": Message("bad", "Files of this type are not allowed."),
    "csrf_failed": Message("bad", "The form had expired. Please try again."),
    "not_found": Message("bad", "That file is not there any more."),
    "invoice_paid": Message("good", "Thank you. The invoice is settled as soon as the payment is confirmed."),
    "invoice_not_open": Message("bad", "That invoice is not open any more."),
    "export_gone": Message("bad", "That export is not kept any more. Ask for a new one."),
    "refused": Message("bad", "That did not work. Please try again."),
}


def message_of(code: str | None) -> Message | None:
    """Only known codes speak: words from an address would be somebody else's words on our page."""
    return _MESSAGES.get(code) if code else None


def code_of_refusal(status: int, code: str | None) -> str:
    """The message for a refused upload or deletion."""
    if code in _MESSAGES:
        return str(code)
    return {404: "not_found", 413: "file_too_large", 415: "type_not_allowed"}.get(status, "refused")


@dataclass(frozen=True, slots=True)
class FileLine:
    id: str
    name: str
    size_text: str
    category: str
    kind: str
    mark: str  # up to four letters in place of an icon
    at: str
    at_text: str
    content_type: str
    folder: str
    sha256: str
    purge_text: str  # when it leaves the trash


def file_line(item: dict[str, Any]) -> FileLine:
    """One file as upload's list gives it."""
    name = str(item.get("file_name") or item.get("name") or "")
    suffix = name.rpartition(".")[2] if "." in name else ""
    at = str(item.get("stored_at") or item.get("created_at") or "")
    return FileLine(
        id=str(item.get("file_id") or item.get("id")),
        name=name,
        size_text=format_bytes(int(item.get("file_size") or item.get("size") or 0)),
        category=str(item.get("category") or ""),
        kind=str(item.get("file_type") or "other"),
        mark=suffix.upper() if 0 < len(suffix) <= 4 and suffix.isalnum() else "FILE",
        at=at,
        at_text=_moment(at),
        content_type=str(item.get("content_type") or ""),
        folder=str(item.get("folder") or ""),
        sha256=str(item.get("sha256") or ""),
        purge_text=_moment(item.get("purge_at")),
    )


LINK_LIVES = {3600: "1 hour", 86_400: "1 day", 604_800: "7 days"}  # by seconds


@dataclass(frozen=True, slots=True)
class LinkLine:
    id: str
    url: str
    state: str
    text: str


def link_line(item: dict[str, Any]) -> LinkLine:
    """One link as upload's list gives it."""
    state, uses = str(item["state"]), int(item["uses"])
    until = f"until {_moment(item['expires_at'])} UTC" if state == "active" else state
    parts = [until, "password" if item["has_password"] else "", f"used {uses} time{'' if uses == 1 else 's'}"]
    return LinkLine(str(item["id"]), str(item["url"]), state, " · ".join(part for part in parts if part))


def _moment(at: str | None) -> str:
    return datetime.fromisoformat(at).strftime("%-d %b, %H:%M") if at else ""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """An open invoice. `left` is decimal text of what is still to be paid."""

    id: str
    number: str
    left: str
    currency: str
    due: str
    due_text: str


def invoice_line(item: dict[str, Any]) -> InvoiceLine:
    """One invoice as billing's list gives it."""
    currency, due = str(item["currency"]), item["due_at"]
    left = Money.parse(item["gross"], currency).amount - Money.parse(item["credited"], currency).amount
    return InvoiceLine(
        id=str(UUID(str(item["id"]))),  # it becomes part of addresses
        number=str(item["number"]),
        left=Money(left, currency).text,
        currency=currency,
        due=due or "",
        due_text=datetime.fromisoformat(due).strftime("%-d %B %Y") if due else "",
    )


_FAMILIES = {"image": "images", "video": "videos", "text": "text", "font": "fonts"}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_KINDS = {  # whose own names say little to people
    "text/plain": "plain text",
    "image/webp": "WebP",
    "audio/mpeg": "MP3",
    "application/msword": "Word",
    "application/vnd.ms-excel": "Excel",
    "application/vnd.ms-powerpoint": "PowerPoint",
    f"{_OFFICE}.wordprocessingml.document": "Word",
    f"{_OFFICE}.spreadsheetml.sheet": "Excel",
    f"{_OFFICE}.presentationml.presentation": "PowerPoint",
}


@dataclass(frozen=True, slots=True)
class PlanCard:
    code: str
    name: str
    price: str | None  # None is free
    currency: str | None
    interval: str | None
    current: bool
    payable: bool
    storage_text: str
    features: list[str]
    lacks: list[str]


def plan_cards(items: Sequence[dict[str, Any]], *, current: str | None) -> list[PlanCard]:
    """`current` is for a billing that marks none."""
    marked = any(item.get("current") for item in items)
    return [plan_card(item, current=None if marked else current) for item in items]


def plan_card(item: dict[str, Any], *, current: str | None) -> PlanCard:
    """One plan as billing's catalogue gives it. What is less than the team has is not paid for here."""
    rights = item["entitlements"]
    traffic, images = rights["traffic_bytes_month"], rights["images_month"]
    is_current = bool(item.get("current")) or item["code"] == current
    change = item.get("change") or {}
    features = [
        _amount(rights["storage_bytes"], "storage"),
        _monthly(traffic, _amount(traffic, "traffic")),
        "" if images == 0 else _monthly(images, _count(images, "image")),
        _count(rights["projects"], "project"),
        _count(rights["members"], "member"),
        f"{rights['cpu']:g} CPU, {_size(rights['memory_bytes'])} memory" if rights.get("cpu") else "",
        "Custom domains" if rights.get("custom_domains") else "",
        f"Deleted files kept {_count(days, 'day')}" if (days := rights.get("trash_days", 0)) else "",
        "A database schema of its own" if rights.get("isolation") == "schema" else "",
    ]
    lacks = ["No images" if images == 0 else "", _only(rights.get("allowed_types"))]
    return PlanCard(
        code=item["code"],
        name=item["name"],
        price=item["price"],
        currency=item["currency"],
        interval=item["interval"],
        current=is_current,
        payable=not is_current and item["price"] is not None and change.get("kind", "upgrade") == "upgrade",
        storage_text=_size(rights["storage_bytes"]),
        features=[feature for feature in features if feature],
        lacks=[lack for lack in lacks if lack],
    )


def _only(types: Sequence[str] | None) -> str:
    """Media types in words, families first: Images and PDF only."""
    if not types:
        return ""
    words = list(dict.fromkeys(_kind(kind) for kind in sorted(types, key=lambda kind: not kind.endswith("/*"))))
    text = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return f"{text[0].upper()}{text[1:]} only"


def _kind(kind: str) -> str:
    """`image/*` is images, `application/x-tar` TAR."""
    family, _, name = kind.partition("/")
    if name == "*":
        return _FAMILIES.get(family, f"{family} files")
    return _KINDS.get(kind) or re.split(r"[.+]", name.removeprefix("x-"))[0].upper()


def _size(number: int | None) -> str:
    return "Unlimited" if number is None else format_bytes(number)


def _amount(number: int | None, noun: str) -> str:
    return f"Unlimited {noun}" if number is None else f"{format_bytes(number)} of {noun}"


def _monthly(number: int | None, text: str) -> str:
    return text if number is None else f"{text} a month"


def _count(number: int | None, noun: str) -> str:
    return f"Unlimited {noun}s" if number is None else f"{number} {noun}{'' if number == 1 else 's'}"
