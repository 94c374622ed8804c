"""A notice as a letter in its reader's language: plain text, and the same words as small HTML. Pure."""

from dataclasses import dataclass
from html import escape

from services.gateway.notifications.models import Reader
from services.gateway.notifications.rules import Notice
from services.gateway.notifications.texts import language_of, texts_of
from services.gateway.notifications.wording import words_of

_TEXT = """\
{hello}

{title}

{body}

{label}: {link}

-- 
{about}
"""  # noqa: W291 - "-- " begins a signature

_HTML = """\
<!doctype html>
<html lang="{language}" dir="{direction}"><body dir="{direction}" style="margin:0;padding:24px;background:#f4f5f7;\
font:16px/1.5 system-ui,sans-serif;color:#1b1f24">
<div style="max-width:520px;margin:auto;background:#fff;border:1px solid #dfe3e8;border-radius:12px;padding:28px">
<p style="margin:0 0 16px">{hello}</p>
<h1 style="font-size:20px;margin:0 0 8px">{title}</h1>
<p style="margin:0 0 24px">{body}</p>
<p style="margin:0"><a href="{link}" style="display:inline-block;background:#0b5f56;color:#fff;text-decoration:none;
padding:10px 18px;border-radius:8px">{label}</a></p>
</div>
<p style="max-width:520px;margin:16px auto;color:#5b6672;font-size:13px">{about}{stop}</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str
    html: str


def letter_of(notice: Notice, reader: Reader, *, base_url: str, stop_url: str | None) -> Letter:
    language = language_of(reader.locale)
    texts = texts_of(language)
    words = words_of(notice.kind, notice.data, texts, reader.timezone)
    said = {
        "hello": texts.hello.format(person=reader.name),
        "title": words.title,
        "body": words.body,
        "label": texts.actions[notice.action],
        "link": f"{base_url}{notice.path}",
        "about": texts.about.format(tenant=reader.tenant_name),
    }
    text, stop = _TEXT.format(**said), ""
    if stop_url is not None:
        text += f"{texts.stop}: {stop_url}\n"
        stop = f' · <a href="{escape(stop_url)}" style="color:inherit">{escape(texts.stop)}</a>'
    shown = {key: escape(value) for key, value in said.items()}
    return Letter(
        # Names are people's own words: a line break in a subject would start a header.
        " ".join(f"{words.title} · {reader.tenant_name}".splitlines()),
        text,
        _HTML.format(**shown, language=language, direction=texts.direction, stop=stop),
    )
