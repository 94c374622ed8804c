"""Sizes and parts of direct uploads. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.upload.direct.errors import PartsMissing
from services.upload.errors import InvalidUpload
from services.upload.files.rules import path_beside

MIB = 1024 * 1024
WHOLE = 100 * MIB  # bytes up to which a file is sent in one piece
PARTS = 10_000  # the most a store puts together
PART = 16 * MIB  # bytes of a part, unless that would be too many
LEAST_PART = 5 * MIB  # what S3 takes for any part but the last
URLS = 100  # of parts, in one answer

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """One that has arrived; `etag` without quotes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A part as the client lists it."""

    number: int
    etag: str


def part_size(size: int | None) -> int:
    """Bytes of every part but the last; MiB, so that it is a round number."""
    least = -(-(size or 0) // PARTS)
    return max(PART, -(-least // MIB) * MIB)


def part_count(size: int, part: int) -> int:
    """An empty file is one empty part."""
    return max(1, -(-size // part))


def choose(arrived: Sequence[Part], listed: Sequence[Listed] | None) -> list[Part]:
    """The parts the file is made of: those listed, or all. Raises PartsMissing unless the store has them as listed."""
    if listed is None:
        return sorted(arrived, key=lambda part: part.number)
    there: Mapping[int, Part] = {part.number: part for part in arrived}
    wrong = [part.number for part in listed if part.number not in there or not _same(there[part.number], part)]
    if wrong:
        raise PartsMissing(sorted(wrong))
    return [there[number] for number in sorted({part.number for part in listed})]


def check_numbers(numbers: Sequence[int], most: int = PARTS) -> list[int]:
    """Raises InvalidUpload."""
    if not 1 <= len(numbers) <= URLS or any(not 1 <= number <= most for number in numbers):
        raise InvalidUpload("invalid_part_number", f"Name 1 to {URLS} parts at a time, from 1 to {most}.")
    return list(numbers)


def check_sha256(text: str | None) -> str | None:
    """In hex. Raises InvalidUpload."""
    if text is not None and not _SHA256.fullmatch(text):
        raise InvalidUpload("invalid_sha256", "A sha256 is 64 hexadecimal digits, in lower case.")
    return text


def likely_part(arrived: Sequence[Part]) -> int:
    """Bytes the next part may bring, where nobody said how many in all."""
    return max([LEAST_PART, *(part.size for part in arrived)])


def attempt_path(path: str, attempt: int) -> str:
    """Where a completion puts the file: an attempt that was believed dead must not write over its successor's."""
    return path if attempt <= 1 else path_beside(path, str(attempt))


def _same(part: Part, listed: Listed) -> bool:
    return not listed.etag or part.etag.strip('"') == listed.etag.strip('"')
