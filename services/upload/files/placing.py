"""Where a file goes when some of what is said of it changes. Pure."""

from collections.abc import Mapping
from typing import Any

from services.upload.files import rules
from services.upload.files.models import StoredFile
from services.upload.intake.placement import Placement, check_metadata

# What may be said anew, and the columns that differ when it was.
VALUES = ("name", "folder", "category", "subcategory", "entity_id", "project_id")
_IN_PATH = ("category", "subcategory", "entity_id")


def placed(tree: rules.Tree, file: StoredFile, said: Mapping[str, Any]) -> Placement:
    """What is not said stays; a new category takes no subcategory along. Raises InvalidUpload."""
    if said.get("category", file.category) != file.category:
        said = {"subcategory": None, **said}
    values = {name: said.get(name, getattr(file, name)) for name in VALUES}
    metadata = check_metadata(said["metadata"]) if "metadata" in said else file.details
    rules.check_name(values["name"])
    rules.check_folder(values["folder"])
    rules.check_place(tree, values["category"], values["subcategory"], values["entity_id"])
    if file.category != rules.IMAGES:
        rules.check_uncounted(values["category"])
    return Placement(**values, metadata=metadata, declared=file.content_type)


def changed_values(file: StoredFile, placement: Placement) -> dict[str, Any]:
    """Columns as JSON."""
    found = {name: getattr(placement, name) for name in VALUES}
    found["project_id"] = None if placement.project_id is None else str(placement.project_id)
    if placement.metadata != file.details:
        found["metadata"] = placement.metadata
    return found


def changes_path(file: StoredFile, placement: Placement) -> bool:
    """The store's path names category, entity and subcategory; a new name or folder moves no byte."""
    return any(getattr(file, name) != getattr(placement, name) for name in _IN_PATH)
