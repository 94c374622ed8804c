"""What a found object becomes. Pure."""

import mimetypes
import re
from typing import Any
from uuid import UUID

from services.upload.errors import InvalidUpload
from services.upload.files import rules
from services.upload.intake.placement import Placement

# Where we put things ourselves; a stranger's folder may have the same name, but no id below it.
_OURS = re.compile(r"(?:customers|derived|direct|exports|parts|staging)/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_owner(path: str, tenant: UUID) -> None:
    """Raises InvalidUpload for what we put there ourselves for somebody else, or for a while."""
    if _OURS.match(path) and not path.startswith(f"customers/{tenant}/"):
        raise InvalidUpload("not_to_adopt", "It is another tenant's, or made by us for a while.")


def placed(path: str, prefix: str, category: str, metadata: dict[str, Any]) -> Placement:
    """The path below the prefix, as folder and name, which also says what it is. Raises InvalidUpload for what could
    not have been uploaded.
    """
    below = path.removeprefix(prefix).lstrip("/")
    folder, _, name = below.rpartition("/")
    rules.check_name(name)
    rules.check_folder(folder)
    kind, packed = mimetypes.guess_type(name)
    declared = None if packed else kind  # of `a.csv.gz` it tells what is inside
    return Placement(name, category, folder=folder, metadata=metadata, declared=declared)


def is_text(path: str) -> bool:
    """A disk may have names that are no Unicode: nobody could have uploaded them, and no row can hold them."""
    return printable(path) == path


def printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
