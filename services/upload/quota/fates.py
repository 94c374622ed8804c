"""What becomes of a file once the scanner has spoken. No I/O."""

from uuid import UUID

from services.upload.ledger.rules import Entry
from services.upload.quota.changes import Change, Fate, Result
from services.upload.quota.rules import Delete, Settle, apply
from services.upload.quota.sheet import Row, Sheet, age_of, event_of, holds
from shared.events import FileDeleted, FileEvent, FileReplaced

# What comes back with an older version's bytes; the file's name and place are its own.
_CONTENT = ("path", "location", "size", "sha256", "content_type", "file_type", "uploaded_by", "metadata", "state")


def judge(sheet: Sheet, change: Change, row: Row, fate: Fate) -> Result:
    """What is clean lets go of what was kept for its sake alone; what is infected gives way to it."""
    if row["state"] != "scanning" or not holds(change, row):
        return Result(sheet.state, unmet=True)
    if fate == "deleted":
        return _condemn(sheet, change, row)
    sheet.update({**row, "state": fate})
    if fate == "ready":
        sheet.tasks += [(UUID(row["id"]), task) for task in change.tasks]
        sheet.drop_versions(change, row["id"], sheet.known.versions_kept)
    return Result(sheet.state)


def _condemn(sheet: Sheet, change: Change, row: Row) -> Result:
    """Its newest version that is known to be clean comes back, else the newest. Without one it goes, and so does a
    file in the trash with all it has.
    """
    older = sheet.versions.get(row["id"], {}).values()
    if older and row["trashed_at"] is None:
        entry = _revert(sheet, change, row, max(older, key=lambda v: (v["state"] == "ready", *age_of(v))))
    else:
        sheet.drop_versions(change, row["id"], 0)
        entry = sheet.erase(change, row)
    return Result(sheet.state, event=entry.event, seq=entry.seq)


def _revert(sheet: Sheet, change: Change, row: Row, version: Row) -> Entry[FileEvent]:
    file_id = UUID(row["id"])
    after = {**row, **{name: version[name] for name in _CONTENT}, "idempotency_key": None}
    after["updated_at"] = sheet.now.isoformat()
    back = Settle(file_id, after["size"], freed=row["size"], force=True)
    sheet.state = apply(sheet.state, None, back).state
    sheet.state = apply(sheet.state, None, Delete(UUID(version["id"]), version["size"])).state
    sheet.remove(version)
    sheet.update(after)
    sheet.discard(row)
    said = {"previous": row, "replaced_at": sheet.now, "replaced_by": change.by, "reverted": True}
    event = event_of(FileReplaced, after, **said)
    entry = sheet.write("replace", event, event.size - event.previous.size, sheet.now, change)
    gone = event_of(FileDeleted, version, deleted_at=sheet.now, deleted_by=change.by)
    sheet.write("delete", gone, -gone.size, sheet.now, change)
    if after["state"] == "ready":
        sheet.drop_versions(change, row["id"], sheet.known.versions_kept)
    elif after["state"] == "scanning":
        sheet.tasks.append((file_id, "scan"))
    return entry
