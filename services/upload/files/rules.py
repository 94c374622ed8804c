"""Names and paths. Pure."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from services.upload.errors import InvalidUpload

Tree = Mapping[str, Sequence[str]]

IMAGES = "images"  # the category of what a plan counts as images of the month
NAME_BYTES = 255
FOLDER_BYTES = 1024
_REVISED = ("path", "name", "folder", "category", "subcategory", "entity_id", "project_id", "metadata", "state")
_ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,10}")


def check_name(name: str) -> str:
    """The user's name for the file, kept as it is. Raises InvalidUpload for what no system could hold."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES:
        raise InvalidUpload("invalid_file_name", "A file name has 1 to 255 bytes.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise InvalidUpload("invalid_file_name", "A file name has no control characters.")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise InvalidUpload("invalid_file_name", "A file name is a name, not a path.")
    return name


def check_folder(folder: str) -> str:
    """Names with slashes between them, "" for none. Raises InvalidUpload."""
    if len(folder.encode("utf-8", "surrogatepass")) > FOLDER_BYTES:
        raise InvalidUpload("invalid_folder", f"A folder has at most {FOLDER_BYTES} bytes.")
    for name in folder.split("/") if folder else ():
        try:
            check_name(name)
        except InvalidUpload as error:
            raise InvalidUpload("invalid_folder", f"A folder's name is like a file's. {error.detail}") from None
    return folder


def check_place(tree: Tree, category: str, subcategory: str | None, entity: str | None) -> None:
    """Raises InvalidUpload unless the category tree has that place."""
    if category not in tree:
        raise InvalidUpload("unknown_category", f"Known categories: {', '.join(sorted(tree))}.")
    if subcategory is not None and subcategory not in tree[category]:
        known = ", ".join(tree[category]) or "none"
        raise InvalidUpload("unknown_category", f"Subcategories of {category}: {known}.")
    if entity is not None and not _ENTITY.fullmatch(entity):
        raise InvalidUpload("invalid_entity_id", "An entity id has letters, digits, - and _, at most 64.")


def check_uncounted(category: str) -> None:
    """For bytes that take no image of the month. Raises InvalidUpload."""
    if category == IMAGES:
        raise InvalidUpload("image_upload_required", "Images come by POST /api/images/upload, which counts them.")


def storage_path(
    tenant: UUID, file_id: UUID, name: str, category: str, subcategory: str | None, entity: str | None
) -> str:
    """customers/{tenant}/{category}[/{entity}][/{subcategory}]/{file id}{ext}: nothing of it is the user's text."""
    parts = ["customers", str(tenant), category, *filter(None, (entity, subcategory))]
    return "/".join([*parts, f"{file_id}{extension(name)}"])


def path_beside(path: str, word: str) -> str:
    """Of the same upload: what another attempt at it has put to `path`, or may yet, is not written over."""
    folder, name = path.rsplit("/", 1)
    stem, dot, ending = name.partition(".")
    return f"{folder}/{stem}.{word}{dot}{ending}"


def extension(name: str) -> str:
    found = "." + name.rsplit(".", 1)[1].lower() if "." in name[1:] else ""
    return found if _EXTENSION.fullmatch(found) else ""


def disposition(name: str, *, inline: bool = False) -> str:
    """RFC 6266: an ASCII name for old clients, the real one for the others."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w. ()+,=@-]", "_", plain) or "file"
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


# What a browser shows without running a word of it. SVG is a page with scripts; so are HTML and XML.
_SHOWN = re.compile(r"(audio|video)/[^+]+|image/(?!svg)[^+]+|application/pdf|text/plain")


def shown_type(media: str, *, inline: bool) -> tuple[str, bool]:
    """The media type to answer with, and whether it may be looked at in place: anything else is only ever saved."""
    if not inline or _SHOWN.fullmatch(media) is None:
        return media, False
    return ("text/plain; charset=utf-8" if media == "text/plain" else media), True


def revision(row: Mapping[str, Any]) -> str:
    """An entity tag over all that may change of a file's row (as JSON): two that are equal describe the same file."""
    told = {name: row[name] for name in _REVISED}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=True).encode())
    return f'"{digest.hexdigest()[:32]}"'
