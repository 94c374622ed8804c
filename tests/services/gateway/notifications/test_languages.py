"""Every notice in every language of the interface (S2.7), to whom it belongs."""

import email
import email.policy
import re
import string
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest
from aiosmtplib.email import flatten_message

from services.gateway.notifications.letters import letter_of
from services.gateway.notifications.mails import message_of
from services.gateway.notifications.models import Mail, Reader
from services.gateway.notifications.rules import Notice, notice_of
from services.gateway.notifications.texts import Texts, language_of, languages, texts_of
from shared.events import Event, Metric
from shared.ids import new_id
from tests.fixtures.postgres import query
from tests.services.gateway.harness import Gateway
from tests.services.gateway.notifications.samples import (
    AT,
    apply,
    crossed,
    due,
    exported,
    failed,
    fallen,
    moved,
    not_exported,
    paid,
    passed,
    record,
    refunded,
)

LANGUAGES = ["en", "fr", "es", "de", "pt", "nl", "pl", "zh", "hi", "th", "tr", "vi", "ja", "id", "it", "ar"]
TENANT = new_id()
EVENTS: list[Event] = [
    *(passed(metric, percent, 97, 100) for metric in get_args(Metric) for percent in (80, 95, 100)),
    *(passed(metric, None, 97) for metric in get_args(Metric)),
    paid(TENANT),
    paid(TENANT, None),
    failed(TENANT),
    *(refunded(TENANT, to) for to in ("provider", "credit", "due")),
    due(TENANT, 1),
    due(TENANT, 2),
    moved(TENANT),
    fallen(TENANT, unpaid=False),
    fallen(TENANT, unpaid=True),
    exported(TENANT, None),
    exported(TENANT, None, complete=False),
    not_exported(TENANT, None),
]
# What a script is made of, where it is another than Latin.
SCRIPTS = {"zh": "[一-鿿]", "ja": "[぀-ヿ一-鿿]", "hi": "[ऀ-ॿ]", "th": "[฀-๿]", "ar": "[؀-ۿ]"}


def _notice(event: Event) -> Notice:
    notice = notice_of(event)
    assert notice is not None
    return notice


def _reader(language: str) -> Reader:
    return Reader(new_id(), "ada@example.test", "Ada Łovelace", language, "Häfen & <Co>", "UTC")


def test_the_languages_are_those_of_the_interface() -> None:
    assert list(languages()) == LANGUAGES
    assert [name for name in LANGUAGES if texts_of(name).direction == "rtl"] == ["ar"]


def _strings(texts: Texts) -> dict[str, str]:
    whole = texts.model_dump()
    flat = {name: value for name, value in whole.items() if isinstance(value, str) and name != "direction"}
    return flat | {f"{name}.{key}": text for name in ("subjects", "actions") for key, text in whole[name].items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing_and_none_is_still_english(language: str) -> None:
    english, own = _strings(texts_of("en")), _strings(texts_of(language))
    assert own.keys() == english.keys()
    for name, text in own.items():
        assert text, name
        assert _fields(text) == _fields(english[name]), name
    if language != "en":
        same = [name for name, text in own.items() if text == english[name] and re.search("[a-z]{4}", text)]
        # Words that languages share: `Export`, `Exports`.
        assert [name for name in same if name not in {"subjects.export", "money", "date", "percent"}] == []
    if language in SCRIPTS:
        worded = [text for name, text in own.items() if re.search("[A-Za-z]{4}", english[name]) and "_" in name]
        assert all(re.search(SCRIPTS[language], text) for text in worded)


def _fields(text: str) -> set[str | None]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notice_is_a_whole_letter(language: str) -> None:
    """Nothing left to fill in, nothing of a person's own words taken for markup, and it arrives as it was written."""
    for event in EVENTS:
        _check_letter(language, _notice(event))


def _check_letter(language: str, notice: Notice) -> None:
    letter = letter_of(
        notice, _reader(language), base_url="https://stowage.test", stop_url="https://stop.test/?a=1&b=2"
    )
    for text in (letter.subject, letter.text):
        assert not re.search(r"[{}]|None|[ \t]{2}", text), text
    assert not re.search(r"[{}]|None", letter.html)
    assert "<Co>" not in letter.html
    assert letter.text.count("https://stowage.test/app") == letter.html.count("https://stowage.test/app") == 1
    assert "https://stop.test/?a=1&b=2" in letter.text
    assert 'href="https://stop.test/?a=1&amp;b=2"' in letter.html
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in letter.html
    mail = Mail(new_id(), TENANT, "ada@example.test", letter.subject, letter.text, letter.html, AT)
    raw = flatten_message(message_of(mail, "Stowage <notices@stowage.test>")).replace(b"\r\n", b"\n")
    head = raw.split(b"\n\n", 1)[0]
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.splitlines() if b"=?" in line)
    arrived: Any = email.message_from_bytes(raw, policy=email.policy.default)
    assert arrived["Subject"] == letter.subject
    assert arrived.get_body(("plain",)).get_content() == letter.text
    assert arrived.get_body(("html",)).get_content() == letter.html


@pytest.mark.parametrize(
    ("language", "size", "number", "amount", "day"),
    [
        ("en", "1.5 GB", "1,234,567", "1,234.50 EUR", "9 March 2026"),
        ("fr", "1,5 Go", "1\u202f234\u202f567", "1\u202f234,50\u00a0EUR", "9 mars 2026"),
        ("es", "1,5 GB", "1.234.567", "1234,50\u00a0EUR", "9 de marzo de 2026"),
        ("de", "1,5 GB", "1.234.567", "1.234,50\u00a0EUR", "9. März 2026"),
        ("pl", "1,5 GB", "1\u00a0234\u00a0567", "1234,50\u00a0EUR", "9 marca 2026"),
        ("zh", "1.5 GB", "1,234,567", "EUR\u00a01,234.50", "2026年3月9日"),
        ("hi", "1.5 GB", "12,34,567", "1,234.50 EUR", "9 मार्च 2026"),
        ("th", "1.5 GB", "1,234,567", "1,234.50 EUR", "9 มีนาคม 2569"),
        ("vi", "1,5 GB", "1.234.567", "1.234,50\u00a0EUR", "9 tháng 3, 2026"),
        ("ar", "1.5 غ.ب", "1,234,567", "1,234.50\u00a0EUR", "9 مارس 2026"),
    ],
)
def test_figures_are_the_languages(language: str, size: str, number: str, amount: str, day: str) -> None:
    texts = texts_of(language)
    assert texts.size_of(1610612736) == size
    assert texts.number(1234567) == number
    assert texts.sum_of("1234.50", "EUR") == amount
    assert texts.day_of(datetime(2026, 3, 9, 12, tzinfo=UTC), "UTC") == day


def test_signs_and_shares_and_small_figures() -> None:
    turkish, french = texts_of("tr"), texts_of("fr")
    assert (turkish.share_of(80), french.share_of(100)) == ("%80", "100\u00a0%")
    assert (french.size_of(999), french.sum_of("-1000", "JPY")) == ("999 octets", "-1\u202f000\u00a0JPY")
    assert texts_of("hi").number(100_000) == "1,00,000"


@pytest.mark.parametrize(
    ("locale", "language"), [("pt-BR", "pt"), ("zh-Hant", "zh"), ("DE", "de"), ("sv", "en"), ("", "en"), ("fil", "en")]
)
def test_a_locale_is_a_language_or_english(locale: str, language: str) -> None:
    assert language_of(locale) == language


async def test_each_person_is_written_to_in_their_own_language(gateway: Gateway) -> None:
    """By mail, in the list, and after they have changed it."""
    ada, layla = await gateway.sign_up("Harbour"), await gateway.sign_up("Port")
    await gateway.call("PATCH", "/api/me", json={"locale": "de-AT"}, headers=ada.bearer)
    await gateway.call("PATCH", "/api/me", json={"locale": "ar"}, headers=layla.bearer)
    tenants = [UUID(who.tenant["id"]) for who in (ada, layla)]
    await apply(gateway.database.worker, *(record(crossed(tenant, 95)) for tenant in tenants))
    rows = await query(gateway.database.superuser, "SELECT recipient, subject, text_body, html_body FROM mail")
    mails = {row["recipient"]: row for row in rows}
    assert mails[ada.email]["subject"] == "Kritisch: Speicher, 95\u00a0% genutzt · Harbour"
    assert "95 MB von 100 MB genutzt, 5 MB frei." in mails[ada.email]["text_body"]
    assert "Guten Tag Person 1," in mails[ada.email]["text_body"]
    assert "مساحة التخزين" in mails[layla.email]["subject"]
    assert 'dir="rtl"' in mails[layla.email]["html_body"]
    titles = [await _title(gateway, who.bearer) for who in (ada, layla)]
    assert titles == ["Kritisch: Speicher, 95\u00a0% genutzt", "تنبيه حرج: مساحة التخزين، استُخدم 95%"]
    await gateway.call("PATCH", "/api/me", json={"locale": "fr"}, headers=ada.bearer)
    assert await _title(gateway, ada.bearer) == "Critique\u00a0: Stockage, 95\u00a0% utilisés"


async def _title(gateway: Gateway, bearer: dict[str, str]) -> str:
    _, page = await gateway.call("GET", "/api/notifications", headers=bearer)
    return str(page["items"][0]["title"])
