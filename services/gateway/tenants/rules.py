"""How a tenant's name becomes its address. Pure."""

import re
import unicodedata
from collections.abc import Iterator

SLUG_MAX = 40  # leaves room for a suffix within the table's 48

# They would read like pages of ours in an address.
_RESERVED = frozenset(
    ["admin", "api", "app", "internal", "static", "docs", "status", "billing", "support", "www", "stowage"]
)


def slug_of(name: str) -> str:
    """`Ärzte & Söhne GmbH` becomes `arzte-sohne-gmbh`; `tenant` when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_MAX].strip("-")
    return slug if slug and slug not in _RESERVED else f"{slug}-team".lstrip("-") if slug else "tenant"


def candidates(name: str, random_suffixes: Iterator[str]) -> Iterator[str]:
    """The plain slug, then two numbered ones, then random ones: popular names must not be counted up one by one."""
    slug = slug_of(name)
    yield slug
    yield f"{slug}-2"
    yield f"{slug}-3"
    for suffix in random_suffixes:
        yield f"{slug}-{suffix}"
