"""What the members of an export are called, and what its manifest says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.upload.exports import archive

FORMAT = "stowage-export-1"
ACCOUNT, TRANSACTIONS, MANIFEST = "account.json", "transactions.ndjson", "manifest.ndjson"

# What Windows does not let a name hold or end with.
_UNSAFE = str.maketrans(dict.fromkeys('<>:"|?*\\/', "_") | {chr(code): "_" for code in range(32)})
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}


@dataclass(frozen=True, slots=True)
class Entry:
    """A member: a file of the snapshot, or one of our own (`file` None). `at` is None until it is written."""

    number: int
    file: Mapping[str, Any] | None
    name: str
    made: datetime
    at: int | None
    size: int | None
    crc: int | None
    problem: str | None

    @property
    def header(self) -> bytes:
        return archive.local_header(self.name.encode(), self.made)

    @property
    def written(self) -> tuple[int, int, int]:
        """Offset, size and CRC. Only of a member that is written."""
        if self.at is None or self.size is None or self.crc is None:
            raise ValueError(f"{self.name} is not written")
        return self.at, self.size, self.crc

    @property
    def directory_entry(self) -> bytes:
        at, size, crc = self.written
        return archive.directory_entry(self.name.encode(), self.made, crc, size, at)


def member_name(file: Mapping[str, Any], *, taken: bool) -> str:
    """A path no unpacking can take elsewhere, unlike any other's in any mixture of upper and lower case.

    `files/{category}/{folder}/{name}` belongs to the first of that name. One that is `taken`, or had to be changed,
    goes below the file's id, as versions and trash do: ids are never alike.
    """
    if file["version_of"] is not None:
        return f"versions/{file['id']}/{_safe(file['name'])}"
    if file["trashed_at"] is not None:
        return f"trash/{file['id']}/{_safe(file['name'])}"
    parts = [file["category"], *filter(None, (file["folder"] or "").split("/")), file["name"]]
    if taken or any(part != _safe(part) for part in parts):
        return f"renamed/{file['id']}/{_safe(file['name'])}"
    return "/".join(["files", *parts])


def _safe(name: str) -> str:
    name = name.encode("utf-8", "replace").decode().translate(_UNSAFE).rstrip(". ")
    if not name or name.split(".", maxsplit=1)[0].lower() in _RESERVED:
        name = f"_{name}"
    return name


def manifest_head(tenant: str, export: str, at: datetime, wanted: Mapping[str, Any], position: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "tenant_id": tenant,
        "export_id": export,
        "snapshot_at": at.isoformat(),
        "ledger_position": position,
        "wanted": wanted,
    }


def manifest_line(entry: Entry) -> dict[str, Any]:
    """A member, or a file that could not be one: then `problem` says why, and `path` is null."""
    if entry.file is None:
        return {"path": entry.name, "size": entry.size, "crc32": entry.crc}
    kept = {name: value for name, value in entry.file.items() if name not in ("path", "location", "idempotency_key")}
    return {
        "path": entry.name if entry.at is not None else None,
        "size": entry.file["size"],
        "sha256": entry.file["sha256"],
        **({"problem": entry.problem} if entry.problem else {}),
        "file": kept,
    }
