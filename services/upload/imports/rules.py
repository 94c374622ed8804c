"""What a found object becomes. Pure."""

import mimetypes
from dataclasses import dataclass
from uuid import UUID

from services.upload.errors import InvalidUpload
from services.upload.files import rules


@dataclass(frozen=True, slots=True)
class Named:
    """`declared`: what the name says it is."""

    name: str
    folder: str
    declared: str | None


def check_owner(path: str, tenant: UUID) -> None:
    """Raises InvalidUpload for what we put there ourselves for somebody else, or for a while."""
    ours = path.startswith(("customers/", "exports/", "parts/", "direct/", "staging/"))
    if ours and not path.startswith(f"customers/{tenant}/"):
        raise InvalidUpload("not_to_adopt", "It is another tenant's, or an export.")


def named(path: str, prefix: str) -> Named:
    """The path below the prefix, as folder and name. Raises InvalidUpload for what could not have been uploaded."""
    below = path.removeprefix(prefix).lstrip("/")
    folder, _, name = below.rpartition("/")
    rules.check_name(name)
    rules.check_folder(folder)
    return Named(name, folder, mimetypes.guess_type(name)[0])
