"""What text is when a browser or a shell would run it. Pure.

By the rules of the WHATWG's MIME Sniffing standard, read more strictly: comments, a prolog and another encoding hide
nothing here.
"""

import codecs
import re

_HTML = re.compile(
    r"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|img|object|embed|meta|form)"
    r"[\s/>]",
    re.IGNORECASE,
)
_SVG = re.compile(r"<(?:!doctype\s+)?(?:\w+:)?svg[\s/>]", re.IGNORECASE)
_XHTML = re.compile(r"<(?:!doctype\s+)?html[\s/>]", re.IGNORECASE)
_XML = re.compile(r"<\?xml\s", re.IGNORECASE)
_SKIPPED = re.compile(
    r"\s+|<!--.*?(?:-->|$)|<\?(?!php|=).*?(?:\?>|$)|<!doctype\s+(?!html|(?:\w+:)?svg)[^>\[]*(?:\[.*?\]\s*)?>",
    re.DOTALL | re.IGNORECASE,
)
_SCRIPTS = (
    (re.compile(r"#!\s*/"), "text/x-shellscript"),
    (re.compile(r"<\?(?:php\s|=)", re.IGNORECASE), "text/x-php"),
    (re.compile(r"@echo\s+(?:off|on)\s", re.IGNORECASE), "text/x-msdos-batch"),
)
_EMBEDDED = re.compile(rb"<(?:html|body|script|iframe)[\s/>]|<!doctype\s+html|<svg\s[^>]{0,200}xmlns", re.IGNORECASE)
_BEGINNINGS = (b"<", b"#!", b"@", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def active_type(head: bytes) -> str:
    """Of a page, a drawing or a script; "" for any other text, and for what is none."""
    if not head.lstrip().startswith(_BEGINNINGS):
        return ""
    text = _decoded(head)
    for pattern, kind in _SCRIPTS:
        if pattern.match(text):
            return kind
    root = _root(text)
    if _SVG.match(text, root):
        return "image/svg+xml"
    if _XML.match(text):
        return "application/xhtml+xml" if _XHTML.match(text, root) else "application/xml"
    return "text/html" if _HTML.match(text, root) else ""


def hides_page(head: bytes) -> bool:
    """Is there a page or a drawing somewhere inside? Chance finds one in ten million heads of pictures."""
    return _EMBEDDED.search(head) is not None


def is_text(head: bytes) -> bool:
    """No NUL and valid UTF-8; the sample may end inside a character."""
    if not head or b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _decoded(head: bytes) -> str:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace").lstrip()
    return head.decode("latin-1").lstrip()


def _root(text: str) -> int:
    """Where the first element begins."""
    position = 0
    while found := _SKIPPED.match(text, position):
        position = found.end()
    return position
