"""A notice as a letter: plain text, and the same words as small HTML. Pure."""

from dataclasses import dataclass
from html import escape

from services.gateway.notifications.rules import Notice

_TEXT = """\
Hello {person},

{title}: {body}

{label}: {link}

This message is about {tenant} on Stowage.
"""

_HTML = """\
<!doctype html>
<html><body style="margin:0;padding:24px;background:#f4f5f7;font:16px/1.5 system-ui,sans-serif;color:#1b1f24">
<div style="max-width:520px;margin:auto;background:#fff;border:1px solid #dfe3e8;border-radius:12px;padding:28px">
<p style="margin:0 0 16px">Hello {person},</p>
<h1 style="font-size:20px;margin:0 0 8px">{title}</h1>
<p style="margin:0 0 24px">{body}</p>
<p style="margin:0"><a href="{link}" style="display:inline-block;background:#0b5f56;color:#fff;text-decoration:none;
padding:10px 18px;border-radius:8px">{label}</a></p>
</div>
<p style="max-width:520px;margin:16px auto;color:#5b6672;font-size:13px">This message is about {tenant} on Stowage.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str
    html: str


def letter_of(notice: Notice, *, tenant: str, person: str, base_url: str) -> Letter:
    path, label = notice.action
    words = {
        "person": person,
        "tenant": tenant,
        "title": notice.title,
        "body": notice.body,
        "label": label,
        "link": f"{base_url}{path}",
    }
    return Letter(
        # Names are people's own words: a line break in a subject would start a header.
        " ".join(f"{notice.title} · {tenant}".split()),
        _TEXT.format(**words),
        _HTML.format(**{key: escape(value) for key, value in words.items()}),
    )
