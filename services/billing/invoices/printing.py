"""An invoice as PDF/A-3b with its XML inside: the same invoice is the same bytes."""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import typst

from services.billing.invoices import cii, xmp
from services.billing.invoices.document import document_of
from services.billing.invoices.repository import Document, Invoice

TEMPLATE = Path(__file__).with_name("invoice.typ")
ABSENT = "□"

_NO_GLYPH = re.compile(r'the text `"(.+?)"` could not be displayed')
_NOTE = "Signs shown as □ have no font where this was made; factur-x.xml, attached, has them in full."


@dataclass(frozen=True, slots=True)
class Printed:
    """`complete`: in the buyer's language, with every sign."""

    document: Document
    complete: bool


class Printer:
    """`fonts`: a folder beside the Latin, Greek and Cyrillic that Typst brings. What the machine has installed is left
    alone, so that an invoice looks the same everywhere. Blocks for some milliseconds, so it belongs into a thread.
    """

    def __init__(self, fonts: Path) -> None:
        self._folder = fonts
        self._own = threading.local()

    def print(self, invoice: Invoice) -> Printed:
        """Where signs have no font it is in English, and a box stands for each of them."""
        file = cii.write(invoice) if cii.can_write(invoice) else None
        missing: set[str] = set()
        while True:
            try:
                content = self._compile(_told(invoice, missing), file, invoice)
                break
            except typst.TypstError as error:
                found = set("".join(_NO_GLYPH.findall(error.diagnostic))) - missing
                if not found:
                    raise
                missing |= found
        if file is not None:
            content = xmp.declare(content)
        return Printed(Document(content, hashlib.sha256(content).hexdigest()), not missing)

    def draw(self, invoice: Invoice) -> bytes:
        """The first page as PNG, to look at."""
        drawn = self._compile(_told(invoice, set()), None, invoice, format="png", ppi=110)
        return drawn if isinstance(drawn, bytes) else drawn[0]

    def _compile(self, told: Mapping[str, Any], file: bytes | None, invoice: Invoice, **how: Any) -> Any:
        inputs = {"data": json.dumps(told)}
        if file is not None:
            inputs["file"] = file.decode()
        how = how or {"format": "pdf", "pdf_standards": "a-3b"}
        stamp = int(invoice.issued_at.timestamp())
        return self._compiler.compile(self._template, sys_inputs=inputs, timestamp=stamp, **how)

    @property
    def _compiler(self) -> typst.Compiler:
        """The thread's own, kept: threads share nothing but the fonts."""
        if not hasattr(self._own, "compiler"):
            self._own.compiler = typst.Compiler(font_paths=self._fonts)
        found: typst.Compiler = self._own.compiler
        return found

    @cached_property
    def _fonts(self) -> typst.Fonts:
        folders = [str(self._folder)] if self._folder.is_dir() else []
        return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders)

    @cached_property
    def _template(self) -> bytes:
        return TEMPLATE.read_bytes()


def _told(invoice: Invoice, missing: set[str]) -> dict[str, Any]:
    told = document_of(invoice, english=bool(missing))
    if not missing:
        return told
    boxes = str.maketrans(dict.fromkeys(missing, ABSENT))
    found: dict[str, Any] = _translated(told, boxes)
    found["notes"] = [*found["notes"], _NOTE]
    return found


def _translated(value: Any, boxes: dict[int, str]) -> Any:
    if isinstance(value, str):
        return value.translate(boxes)
    if isinstance(value, dict):
        return {name: _translated(part, boxes) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_translated(part, boxes) for part in value]
    return value
