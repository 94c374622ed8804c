"""Says in a PDF's metadata that it is a Factur-X invoice: what Typst cannot write."""

import re

_URN = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_FIELDS = {
    "DocumentFileName": ("factur-x.xml", "The name of the embedded XML document"),
    "DocumentType": ("INVOICE", "The type of the hybrid document in capital letters"),
    "Version": ("1.0", "The version of the standard of the embedded XML document"),
    "ConformanceLevel": ("EN 16931", "The conformance level of the embedded XML document"),
}
_PROPERTIES = "".join(
    '<rdf:li rdf:parseType="Resource">'
    f"<pdfaProperty:name>{name}</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType>"
    f"<pdfaProperty:category>external</pdfaProperty:category><pdfaProperty:description>{text}</pdfaProperty:description>"
    "</rdf:li>"
    for name, (_, text) in _FIELDS.items()
)
_SCHEMA = (
    '<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>'
    f"<pdfaSchema:namespaceURI>{_URN}</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix>"
    f"<pdfaSchema:property><rdf:Seq>{_PROPERTIES}</rdf:Seq></pdfaSchema:property></rdf:li>"
).encode()
_VALUES = (
    f'<rdf:Description rdf:about="" xmlns:fx="{_URN}">'
    + "".join(f"<fx:{name}>{value}</fx:{name}>" for name, (value, _) in _FIELDS.items())
    + "</rdf:Description>"
).encode()

_METADATA = re.compile(rb"(\d+) 0 obj\n<<[^>]*/Type/Metadata[^>]*>>\nstream\n(.*?)\nendstream", re.DOTALL)
_TRAILER = re.compile(rb"trailer\s*<<(.*?)>>\s*startxref\s*(\d+)\s*%%EOF\s*$", re.DOTALL)


def declare(pdf: bytes) -> bytes:
    """With the metadata replaced as PDF provides for changes: by an appended section, so that no byte of Typst's moves.
    Raises ValueError for a PDF that is not as Typst writes them.
    """
    metadata, trailer = _METADATA.search(pdf), _TRAILER.search(pdf)
    if metadata is None or trailer is None:
        raise ValueError("the PDF is not as expected: was Typst changed?")
    said = metadata[2]
    if said.count(b"</rdf:Bag></pdfaExtension:schemas>") != 1 or said.count(b"</rdf:RDF>") != 1:
        raise ValueError("the PDF's metadata are not as expected: was Typst changed?")
    said = said.replace(b"</rdf:Bag></pdfaExtension:schemas>", _SCHEMA + b"</rdf:Bag></pdfaExtension:schemas>")
    said = said.replace(b"</rdf:RDF>", _VALUES + b"</rdf:RDF>")
    pdf = pdf.rstrip(b"\n") + b"\n"
    number, at = metadata[1], len(pdf)
    stream = b"%b 0 obj\n<</Type/Metadata/Subtype/XML/Length %d>>\nstream\n%b\nendstream\nendobj\n"
    section = b"xref\n%b 1\n%010d 00000 n \ntrailer\n<<%b/Prev %b>>\nstartxref\n%d\n%%%%EOF\n"
    changed = pdf + stream % (number, len(said), said)
    return changed + section % (number, at, trailer[1], trailer[2], len(changed))
