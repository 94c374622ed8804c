"""The same for everybody: the category tree, and what this installation allows."""

from dataclasses import dataclass
from datetime import timedelta

from services.upload.entitlements.terms import Terms
from services.upload.files.rules import Tree


@dataclass(frozen=True, slots=True)
class Policy:
    """`max_file_size` in bytes for what comes in one request, `max_resumable_size` for what comes in pieces or straight
    to the store. `scans`: files are hidden until a scanner has found them clean.
    """

    tree: Tree
    allowed: frozenset[str]
    max_file_size: int
    max_resumable_size: int
    lifetime: timedelta
    upgrade_url: str
    scans: bool = False

    def largest(self, terms: Terms, *, resumable: bool = False) -> int:
        """Bytes a file of this tenant may have."""
        configured = self.max_resumable_size if resumable else self.max_file_size
        return configured if terms.max_file is None else min(configured, terms.max_file)
