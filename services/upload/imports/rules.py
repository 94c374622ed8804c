"""What a found object becomes. Pure."""

import mimetypes
import re
from dataclasses import dataclass
from uuid import UUID

from services.upload.errors import InvalidUpload
from services.upload.files import rules

# Where we put things ourselves; a stranger's folder may have the same name, but no id below it.
_OURS = re.compile(r"(?:customers|derived|direct|exports|parts|staging)/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Named:
    """`declared`: what the name says it is."""

    name: str
    folder: str
    declared: str | None


def check_owner(path: str, tenant: UUID) -> None:
    """Raises InvalidUpload for what we put there ourselves for somebody else, or for a while."""
    if _OURS.match(path) and not path.startswith(f"customers/{tenant}/"):
        raise InvalidUpload("not_to_adopt", "It is another tenant's, or made by us for a while.")


def named(path: str, prefix: str) -> Named:
    """The path below the prefix, as folder and name. Raises InvalidUpload for what could not have been uploaded."""
    below = path.removeprefix(prefix).lstrip("/")
    folder, _, name = below.rpartition("/")
    rules.check_name(name)
    rules.check_folder(folder)
    return Named(name, folder, mimetypes.guess_type(name)[0])
