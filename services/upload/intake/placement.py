"""What the sender says of a file: its name, where it belongs, what it is. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from services.upload.errors import InvalidUpload
from services.upload.files import rules

METADATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Placement:
    """`declared` is the media type the sender claims. `strip_location`: take out of a photo where it was taken."""

    name: str
    category: str
    subcategory: str | None = None
    entity_id: str | None = None
    folder: str = ""
    project_id: UUID | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    declared: str | None = None
    strip_location: bool = False

    @classmethod
    def read(
        cls,
        tree: rules.Tree,
        name: str,
        said: Callable[[str], str | None],
        declared: str | None,
        *,
        counted: bool = False,
    ) -> Self:
        """`said` gives a field's text, None where there is none. `counted`: it takes an image of the month. Raises
        InvalidUpload.
        """
        rules.check_name(name)
        category, subcategory, entity = said("category") or "", said("subcategory"), said("entity_id")
        rules.check_place(tree, category, subcategory, entity)
        if not counted:
            rules.check_uncounted(category)
        return cls(
            name=name,
            category=category,
            subcategory=subcategory,
            entity_id=entity,
            folder=rules.check_folder(said("folder") or ""),
            project_id=_project(said("project_id")),
            metadata=read_metadata(said("metadata")),
            declared=declared,
            strip_location=read_flag(said("strip_location")),
        )

    def path(self, tenant: UUID, upload: UUID) -> str:
        """Where the store keeps it."""
        return rules.storage_path(tenant, upload, self.name, self.category, self.subcategory, self.entity_id)


def read_metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return check_metadata(found)


def check_metadata(found: Any) -> dict[str, Any]:
    """Raises InvalidUpload for anything but an object of moderate size that PostgreSQL can hold."""
    if not isinstance(found, dict):
        raise InvalidUpload("invalid_metadata", "Metadata is a JSON object.")
    try:
        size = len(json.dumps(found, allow_nan=False, ensure_ascii=False).encode())
    except ValueError:
        raise InvalidUpload("invalid_metadata", "Metadata is Unicode and has no NaN and no infinity.") from None
    if "\\u0000" in json.dumps(found) or size > METADATA_BYTES:
        raise InvalidUpload("invalid_metadata", f"Metadata has no NUL and at most {METADATA_BYTES} bytes.")
    return found


def _project(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise InvalidUpload("invalid_project_id", "A project id is a UUID.") from None


def read_flag(text: str | None) -> bool:
    """Of `strip_location`. Raises InvalidUpload."""
    if text is None:
        return False
    if text.lower() not in {"true", "false", "1", "0"}:
        raise InvalidUpload("invalid_flag", "strip_location is true or false.")
    return text.lower() in {"true", "1"}
