"""Records as the consumer hands them on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.events import Entitlements, EntitlementsChanged, Event, FileDeleted, FileStored, FileType
from shared.kafka.records import Record

TENANT = UUID(int=7)
START = datetime(2026, 3, 1, tzinfo=UTC)
KINDS: list[tuple[FileType, str]] = [("image", "avatars"), ("image", "properties"), ("document", "leases")]
FREE = Entitlements(
    storage_bytes=100,
    traffic_bytes_month=None,
    images_month=None,
    teams=None,
    members=None,
    projects=None,
    cpu=None,
    memory_bytes=None,
    custom_domains=False,
    max_file_bytes=None,
)


def stored(seq: int, size: int, kind: tuple[FileType, str] = KINDS[0], *, tenant: UUID = TENANT) -> Record:
    return record(seq, FileStored(stored_at=moment(seq), **_file(tenant, size, kind)))


def deleted(seq: int, size: int, kind: tuple[FileType, str] = KINDS[0], *, tenant: UUID = TENANT) -> Record:
    at = moment(seq)
    event = FileDeleted(stored_at=START, deleted_at=at, deleted_by=None, **_file(tenant, size, kind))
    return record(seq, event)


def granted(version: int, limit: int | None, *, tenant: UUID = TENANT, plan: str = "free") -> Record:
    entitlements = FREE.model_copy(update={"storage_bytes": limit})
    return record(
        version,
        EntitlementsChanged(tenant_id=tenant, version=version, plan=plan, plan_version=1, entitlements=entitlements),
    )


def record(seq: int, event: Event) -> Record:
    """The trace of entry n is 00-…n-…-01."""
    return Record(
        topic=event.topic,
        tenant_id=event.tenant_id,
        seq=seq,
        type=event.type,
        body=event.body().encode(),
        headers={"ce_time": moment(seq).isoformat().encode(), "ce_id": str(UUID(int=seq)).encode()},
        traceparent=trace(seq),
        event=event,
    )


def moment(seq: int) -> datetime:
    return START + timedelta(seconds=seq)


def trace(seq: int) -> str:
    return f"00-{seq:032x}-{seq:016x}-01"


def _file(tenant: UUID, size: int, kind: tuple[FileType, str]) -> dict[str, object]:
    return {
        "tenant_id": tenant,
        "file_id": UUID(int=1),
        "path": "p",
        "name": "n",
        "size": size,
        "content_type": "a/b",
        "file_type": kind[0],
        "category": kind[1],
        "subcategory": None,
        "entity_id": None,
        "project_id": None,
        "sha256": "0" * 64,
        "uploaded_by": None,
    }
