"""The words of notices in the languages of the interface (S2.7), and how each of them writes figures."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.gateway.notifications.rules import Action, Subject
from shared.sizes import format_bytes
from shared.zones import known_zone

FILE = Path(__file__).with_name("texts.yaml")
DEFAULT = "en"


class Texts(BaseModel):
    """Of one language. Braces are filled in by whoever says them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    direction: Literal["ltr", "rtl"] = "ltr"
    decimal: str
    group: str
    group_from: int = 4
    lakh: bool = False
    percent: str
    money: str
    units: tuple[str, str, str, str, str]
    date: str
    months: tuple[str, ...] = Field(min_length=12, max_length=12)
    era: int = 0
    comma: str

    hello: str
    about: str
    stop: str
    stop_ask: str
    stop_kept: str
    stopped: str
    subjects: dict[Subject, str]
    actions: dict[Action, str]

    share: str
    critical: str
    full: str
    passed: str
    used: str
    used_of: str
    used_left: str
    near: str
    monthly: str
    full_storage: str
    full_images: str
    full_members: str
    full_projects: str
    full_credits: str

    paid: str
    paid_body: str
    paid_plan: str
    failed: str
    failed_body: str
    refunded: str
    refunded_provider: str
    refunded_credit: str
    refunded_due: str
    due_first: str
    due_again: str
    due_body: str
    due_else: str
    plan: str
    plan_body: str
    plan_unpaid: str
    plan_lower: str
    plan_kept: str
    export: str
    export_body: str
    export_lacks: str
    export_failed: str
    export_failed_body: str

    def number(self, amount: int) -> str:
        return self._figure(str(amount))

    def size_of(self, size: int) -> str:
        """Bytes, as `shared.sizes` rounds them."""
        figure, unit = format_bytes(size).split(" ")
        return f"{self._figure(figure)} {self.units[('Bytes', 'KB', 'MB', 'GB', 'TB').index(unit)]}"

    def share_of(self, percent: int) -> str:
        return self.percent.format(number=self.number(percent))

    def sum_of(self, amount: str, currency: str) -> str:
        """`amount` is decimal text."""
        return self.money.format(amount=self._figure(amount), currency=currency)

    def day_of(self, moment: datetime, zone: str) -> str:
        """The date it is then in an IANA time zone."""
        day = moment.astimezone(ZoneInfo(known_zone(zone)))
        return self.date.format(day=day.day, month=self.months[day.month - 1], year=day.year + self.era)

    def _figure(self, text: str) -> str:
        sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
        whole, _, rest = digits.partition(".")
        return f"{sign}{self._grouped(whole)}{self.decimal if rest else ''}{rest}"

    def _grouped(self, digits: str) -> str:
        if len(digits) < max(4, self.group_from):
            return digits
        parts, digits = [digits[-3:]], digits[:-3]
        step = 2 if self.lakh else 3
        while digits:
            parts.insert(0, digits[-step:])
            digits = digits[:-step]
        return self.group.join(parts)


def language_of(locale: str) -> str:
    """The language of a locale as profiles hold it, `pt-BR` for one; English where it is none of ours."""
    language = locale.partition("-")[0].lower()
    return language if language in languages() else DEFAULT


def texts_of(language: str) -> Texts:
    """Raises KeyError for one that is not among `languages`."""
    return _read()[language]


def languages() -> tuple[str, ...]:
    return tuple(_read())


@cache
def _read() -> dict[str, Texts]:
    return TypeAdapter(dict[str, Texts]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))
