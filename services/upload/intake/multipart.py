"""A multipart form read as it comes: fields in memory and small, the one file handed on chunk by chunk."""

import re
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.upload.errors import InvalidUpload

FIELDS = 16
FIELD_BYTES = 64 * 1024
HEADER_BYTES = 4096
ENVELOPE = 64 * 1024  # bytes of a form beyond its file that are taken for granted; FIELDS make it larger
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@dataclass(slots=True)
class FilePart:
    name: str
    content_type: str | None


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    is_file: bool = False
    value: bytearray = field(default_factory=bytearray)


class UploadForm:
    """`feed` returns the file's bytes among what came. `file` is set once its headers are read."""

    def __init__(self, content_type: str | None) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"").decode("latin-1")
        if kind != b"multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
            raise InvalidUpload("not_multipart", "Send multipart/form-data with a boundary.")
        self.fields: dict[str, str] = {}
        self.file: FilePart | None = None
        self.file_starts = 0  # bytes of the body before the file's first
        self.complete = False
        self.closing = len(boundary) + 6  # the least that follows the file: CRLF--boundary--
        self._fed = 0
        self._part = _Part()
        self._header: list[bytearray] = [bytearray(), bytearray()]
        self._chunks: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._complete,
            },
            max_header_count=8,
            max_header_size=HEADER_BYTES,
        )
        self._chunk = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises InvalidUpload for anything a form may not be."""
        self._chunk = chunk
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidUpload("malformed_multipart", "The form is not well formed.") from error
        self._fed += len(chunk)
        chunks, self._chunks = self._chunks, []
        return chunks

    def text(self, name: str) -> str | None:
        """A field's text; None when it is missing or empty."""
        return self.fields.get(name) or None

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        name, value = (bytes(part).decode("utf-8", "surrogateescape") for part in self._header)
        self._part.headers[name.strip().lower()] = value.strip()
        self._header = [bytearray(), bytearray()]

    def _headers_finished(self) -> None:
        raw = self._part.headers.get("content-disposition", "").encode("utf-8", "surrogateescape")
        kind, options = parse_options_header(raw)
        if kind != b"form-data" or b"name" not in options:
            raise InvalidUpload("malformed_multipart", "A part of the form has no name.")
        self._part.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" not in options:
            if len(self.fields) >= FIELDS:
                raise InvalidUpload("too_many_fields", f"A form has at most {FIELDS} fields.")
            return
        if self.file is not None:
            raise InvalidUpload("too_many_files", "One file an upload.")
        if self._part.name != "file":
            raise InvalidUpload("no_file", "The file's field is called file.")
        self._part.is_file = True
        try:
            name = options[b"filename"].decode()
        except UnicodeDecodeError as error:
            raise InvalidUpload("invalid_file_name", "A file name is UTF-8.") from error
        self.file = FilePart(name, self._part.headers.get("content-type"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            if not self.file_starts:
                self.file_starts = self._fed + (start if data is self._chunk else 0)
            # The usual chunk is all file: passing it on whole saves a copy.
            self._chunks.append(data if start == 0 and end == len(data) else data[start:end])
            return
        self._part.value += data[start:end]
        if len(self._part.value) > FIELD_BYTES:
            raise InvalidUpload("field_too_large", f"A field has at most {FIELD_BYTES} bytes.")

    def _end(self) -> None:
        if not self._part.is_file:
            try:
                self.fields[self._part.name] = self._part.value.decode()
            except UnicodeDecodeError as error:
                raise InvalidUpload("malformed_multipart", "A field is not UTF-8.") from error

    def _complete(self) -> None:
        self.complete = True
