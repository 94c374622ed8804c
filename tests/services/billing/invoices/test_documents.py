"""PDF and XML of an invoice: what they say, that they are what they claim, and that they stay."""

import io
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import facturx
import pypdf
import pytest
from lxml import etree
from pydantic import ValidationError

from services.billing.details.parties import LANGUAGES
from services.billing.invoices import cii, xmp
from services.billing.invoices.document import document_of
from services.billing.invoices.labels import Labels, labels_of
from services.billing.invoices.printing import Printer
from services.billing.invoices.repository import Invoice
from services.billing.invoices.rules import Item
from tests.services.billing.invoices.books import NOW, PRO, drawn
from tests.services.billing.world import FONTS

NAMES = {
    "ar": "شركة التخزين السحابي",
    "hi": "भारत भंडारण सेवा",
    "ja": "株式会社ストレージ",
    "th": "บริษัท คลังข้อมูล จำกัด",
    "zh": "东方数据有限公司",
    "vi": "Công ty Lưu trữ Việt",
    "pl": "Żółć Gęślą sp. z o.o.",
    "tr": "Işık Çağrı Şirketi",
}
CREDIT: dict[str, Any] = {
    "kind": "credit_note",
    "refers_to_number": "INV-2026-000001",
    "refers_to_issued_at": NOW,
    "reason": "Given back",
}
RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"


@pytest.fixture(scope="module")
def printer() -> Printer:
    if not (FONTS / ".complete").exists():
        message = "the fonts are not to be had here: sh deploy/fonts.sh .cache/fonts"
        if os.environ.get("REQUIRE_PARTS"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return Printer(FONTS)


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def letters(text: str) -> list[str]:
    """Without marks: where a glyph is not one sign the PDF says what it is by ActualText, which pypdf passes over, and
    in their order on the page.
    """
    bare = "".join(
        s for s in unicodedata.normalize("NFKC", text) if unicodedata.category(s)[0] not in "MC" or s == "\n"
    )
    return bare.split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_who_what_and_how_much(printer: Printer, language: str) -> None:
    credits_ = Item(labels_of(language).credits_of(1234), 1, 6163)
    invoice = drawn(PRO, credits_, language=language, name=NAMES.get(language, "Ada Lovelace Ltd"))
    printed = printer.print(invoice)
    assert printed.complete
    text = text_of(printed.document.content)
    figure = labels_of(language).figure(invoice.text(invoice.gross))
    assert invoice.number in text
    assert f"{figure} EUR" in text
    joined = "".join(letters(text))
    assert [word for word in letters(invoice.buyer.name) if word not in joined] == []
    assert labels_of(language).figure("1234") in text


def test_it_is_what_it_claims_to_be(printer: Printer) -> None:
    """PDF/A-3b by its own metadata, with the XML attached and told of as Factur-X wants it."""
    invoice = drawn()
    reader = pypdf.PdfReader(io.BytesIO(printer.print(invoice).document.content), strict=True)
    root: Any = reader.trailer["/Root"]
    told = etree.fromstring(root["/Metadata"].get_data())
    found = {etree.QName(node).localname: node.text for node in told.iter() if isinstance(node.tag, str)}
    assert (found["part"], found["conformance"]) == ("3", "B")
    assert (found["DocumentType"], found["DocumentFileName"]) == ("INVOICE", "factur-x.xml")
    assert found["ConformanceLevel"] == "EN 16931"
    assert reader.attachments["factur-x.xml"] == [cii.write(invoice)]
    spec = root["/AF"][0].get_object()
    assert (spec["/AFRelationship"], spec["/UF"]) == ("/Alternative", "factur-x.xml")
    assert root["/MarkInfo"]["/Marked"]
    name, content = facturx.get_xml_from_pdf(printer.print(invoice).document.content, check_xsd=True)[:2]
    assert (name, content) == ("factur-x.xml", cii.write(invoice))


def test_the_same_invoice_is_the_same_bytes(printer: Printer) -> None:
    """Also from another printer, and from several threads at once."""
    invoice = drawn(language="ar", name=NAMES["ar"])
    other = Printer(FONTS)
    with ThreadPoolExecutor(4) as threads:
        made = set(threads.map(lambda n: (printer if n % 2 else other).print(invoice).document, range(8)))
    assert len(made) == 1


def test_without_fonts_it_is_in_english_and_says_so(tmp_path: Path) -> None:
    invoice = drawn(language="ja", name="株式会社 Storage")
    printed = Printer(tmp_path).print(invoice)
    assert not printed.complete
    text = text_of(printed.document.content)
    assert "Invoice" in text
    assert "□□□□ Storage" in text
    assert "have no font" in text
    attached = pypdf.PdfReader(io.BytesIO(printed.document.content)).attachments["factur-x.xml"][0]
    assert "株式会社 Storage" in attached.decode()
    assert Printer(tmp_path / "nowhere").print(drawn()).complete, "Latin needs none"


def test_a_long_one_has_pages(printer: Printer) -> None:
    pdf = printer.print(drawn(*[Item(f"Line {n} " + "long " * 20, n, 5) for n in range(1, 120)])).document.content
    assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages) > 3
    assert "1 / " in text_of(pdf)
    assert "Line 119" in text_of(pdf)


def test_what_people_write_is_text_and_no_markup(printer: Printer) -> None:
    wild = '#panic() $x$ *b* _i_ `c` \\ <label> @ref // "quoted" ]] </ram:Name> &amp;'
    invoice = drawn(Item(wild, 1, 100), name=wild)
    printed = printer.print(invoice)
    assert text_of(printed.document.content).count("#panic()") == 2
    names = [node.text for node in etree.fromstring(cii.write(invoice)).iter(f"{RAM}Name")]
    assert names.count(wild) == 2


CASES = {
    "paid": drawn(),
    "open": drawn(status="open", due_at=NOW),
    "reverse charge": drawn(tax_category="AE"),
    "outside": drawn(tax_category="O"),
    "credit note": drawn(**CREDIT),
    "credit note, outside": drawn(**CREDIT, tax_category="O"),
    "given back in part": drawn(Item("Pro", 1, 900), Item("Unused", -2, 75)),
    "yen": drawn(currency="JPY"),
    "thirds": drawn(Item("x", 3, 333), Item("y", 7, 1)),
    "nothing": drawn(Item("x", 1, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_xml_is_en_16931(case: str) -> None:
    """Against the schema, and the standard's own sums; its full rules in Schematron need an XSLT 2 processor."""
    invoice = CASES[case]
    written = cii.write(invoice)
    assert facturx.xml_check_xsd(written, flavor="factur-x", level="en16931")
    tree = etree.fromstring(written)
    lines = numbers(tree, "LineTotalAmount")
    *each, total = lines
    assert sum(each) == total  # BR-CO-10
    assert only(tree, "GrandTotalAmount") == only(tree, "TaxBasisTotalAmount") + only(
        tree, "TaxTotalAmount"
    )  # BR-CO-15
    prepaid, due = only(tree, "TotalPrepaidAmount"), only(tree, "DuePayableAmount")
    assert due == only(tree, "GrandTotalAmount") - prepaid  # BR-CO-16
    assert sum(numbers(tree, "CalculatedAmount")) == only(tree, "TaxTotalAmount")  # BR-CO-14
    assert sum(numbers(tree, "BasisAmount")) == only(tree, "TaxBasisTotalAmount")
    if due > 0:
        assert list(tree.iter(f"{RAM}DueDateDateTime", f"{RAM}SpecifiedTradePaymentTerms"))  # BR-CO-25
    vat_ids = [node.text for node in tree.iter(f"{RAM}ID") if node.get("schemeID") == "VA"]
    assert len(vat_ids) == (0 if invoice.tax_category == "O" else 2)  # BR-O-02, BR-AE-02
    assert next(tree.iter(f"{RAM}TypeCode")).text == ("380" if invoice.kind == "invoice" else "381")
    for item in tree.iter(f"{RAM}IncludedSupplyChainTradeLineItem"):
        price, of = numbers(item, "ChargeAmount")[0], (numbers(item, "BasisQuantity") or [Decimal(1)])[0]
        assert round(price * numbers(item, "BilledQuantity")[0] / of, 2) == numbers(item, "LineTotalAmount")[0]


def numbers(node: Any, name: str) -> list[Decimal]:
    return [Decimal(found.text) for found in node.iter(f"{RAM}{name}")]


def only(node: Any, name: str) -> Decimal:
    found = numbers(node, name)
    assert len(found) == 1, name
    return found[0]


def test_three_decimals_are_none_of_the_standards(printer: Printer) -> None:
    invoice = drawn(currency="KWD")
    assert not cii.can_write(invoice)
    pdf = printer.print(invoice).document.content
    assert not pypdf.PdfReader(io.BytesIO(pdf)).attachments
    assert "124.296 KWD" in text_of(pdf)


def test_figures_as_each_language_writes_them() -> None:
    found = {language: labels_of(language).figure("-1234567.50") for language in ("en", "de", "pl")}
    assert found == {"en": "−1,234,567.50", "de": "−1.234.567,50", "pl": "−1\u00a0234\u00a0567,50"}
    told = document_of(drawn(Item("x", 3, 100), PRO))
    assert [line["unit_price"] for line in told["lines"]] == ["0.84", "2.52"]
    assert [line["unit_price"] for line in document_of(drawn(Item("x", 3, 33)))["lines"]] == ["0.2767"]


def test_every_language_has_every_label() -> None:
    for language in LANGUAGES:
        assert all(part for part in labels_of(language).model_dump().values())
    assert len({labels_of(language).total for language in LANGUAGES}) > 8


def test_credits_are_told_in_each_language() -> None:
    found = {language: labels_of(language).credits_of(1234) for language in LANGUAGES}
    assert (found["en"], found["fr"], found["de"]) == (
        "1,234 credits",
        "Crédits : 1\u00a0234",
        "Guthabenpunkte: 1.234",
    )
    assert all("1" in text and "{" not in text for text in found.values())
    assert [language for language, text in found.items() if language != "en" and "credits" in text] == []
    with pytest.raises(ValidationError):
        Labels.model_validate({**labels_of("en").model_dump(), "bought": "credits"})


def test_a_pdf_that_is_not_typsts_is_refused() -> None:
    with pytest.raises(ValueError, match="not as expected"):
        xmp.declare(b"%PDF-1.7\n")


def test_nothing_is_fetched_while_it_is_set() -> None:
    template = (Path(__file__).parents[4] / "services" / "billing" / "invoices" / "invoice.typ").read_text()
    assert "#import" not in template
    assert "@preview" not in template


def test_open_and_paid_say_so_and_do_not_change(printer: Printer) -> None:
    still_open = drawn(status="open", due_at=NOW)
    later = drawn(**{**fields(still_open), "status": "paid", "paid_at": NOW})
    assert printer.print(still_open).document == printer.print(later).document
    assert "Due" in text_of(printer.print(still_open).document.content)


def fields(invoice: Invoice) -> dict[str, Any]:
    return {name: getattr(invoice, name) for name in Invoice.__slots__}
