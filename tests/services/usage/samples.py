"""Records as the consumer hands them on."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.events import (
    CreditsChanged,
    Entitlements,
    EntitlementsChanged,
    Event,
    FileDeleted,
    FileMoved,
    FileReplaced,
    FileRestored,
    FileStored,
    FileTrashed,
    FileType,
    StorageAdjusted,
    TenantCreated,
    TenantEvent,
    TrafficBought,
    TrafficItem,
    TrafficRecorded,
)
from shared.events.entitlements import Isolation
from shared.kafka.records import Record

TENANT = UUID(int=7)
START = datetime(2026, 3, 1, tzinfo=UTC)
Kind = tuple[FileType, str]
PROJECTS = [UUID(int=100), UUID(int=101)]
PEOPLE = [UUID(int=200), UUID(int=201)]
KINDS: list[Kind] = [("image", "avatars"), ("image", "properties"), ("document", "leases")]
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


@dataclass(frozen=True)
class File:
    """As a ledger knows it; `version` is an older one of another file."""

    size: int
    kind: Kind = KINDS[0]
    trashed: bool = False
    version: bool = False
    project: UUID | None = None
    by: UUID | None = None


def stored(
    seq: int,
    size: int,
    kind: Kind = KINDS[0],
    *,
    tenant: UUID = TENANT,
    version: bool = False,
    project: UUID | None = None,
    by: UUID | None = None,
    at: datetime | None = None,
    image: date | None = None,
) -> Record:
    """`image`: the month it takes an image of."""
    file = File(size, kind, version=version, project=project, by=by)
    return record(seq, FileStored(stored_at=at or moment(seq), image_month=image, **_file(tenant, file)), at)


def deleted(
    seq: int,
    size: int,
    kind: Kind = KINDS[0],
    *,
    tenant: UUID = TENANT,
    trashed: bool = False,
    version: bool = False,
    project: UUID | None = None,
    by: UUID | None = None,
    at: datetime | None = None,
) -> Record:
    fields = _file(tenant, File(size, kind, version=version, project=project, by=by))
    event = FileDeleted(stored_at=START, deleted_at=at or moment(seq), deleted_by=None, trashed=trashed, **fields)
    return record(seq, event, at)


def replaced(seq: int, before: File, after: File, *, kept: bool = False, reverted: bool = False) -> Record:
    at = moment(seq)
    fields = {**_file(TENANT, after), "previous": _file(TENANT, before), "stored_at": START}
    return record(seq, FileReplaced(replaced_at=at, replaced_by=None, kept=kept, reverted=reverted, **fields))


def moved(seq: int, before: File, after: File) -> Record:
    fields = {**_file(TENANT, after), "previous": _file(TENANT, before), "stored_at": START}
    return record(seq, FileMoved(moved_at=moment(seq), moved_by=None, **fields))


def trashed(seq: int, file: File, *, tenant: UUID = TENANT) -> Record:
    at = moment(seq)
    return record(seq, FileTrashed(stored_at=START, trashed_at=at, trashed_by=None, purge_at=at, **_file(tenant, file)))


def restored(seq: int, file: File) -> Record:
    return record(seq, FileRestored(stored_at=START, restored_at=moment(seq), restored_by=None, **_file(TENANT, file)))


def adjusted(seq: int, delta_bytes: int, delta_files: int, kind: Kind = KINDS[0], *, partial: bool = False) -> Record:
    event = StorageAdjusted(
        tenant_id=TENANT,
        id=UUID(int=3),
        file_type=kind[0],
        category=kind[1],
        project_id=None,
        delta_bytes=delta_bytes,
        delta_files=delta_files,
        reason="",
        at=moment(seq),
        partial=partial,
    )
    return record(seq, event)


def granted(
    version: int,
    limit: int | None,
    *,
    tenant: UUID = TENANT,
    plan: str = "free",
    traffic: int | None = None,
    images: int | None = None,
    members: int | None = None,
    projects: int | None = None,
    isolation: Isolation = "shared",
    at: datetime | None = None,
) -> Record:
    limits: dict[str, Any] = {"storage_bytes": limit, "traffic_bytes_month": traffic, "images_month": images}
    limits |= {"members": members, "projects": projects, "isolation": isolation}
    entitlements = FREE.model_copy(update=limits)
    return record(
        version,
        EntitlementsChanged(tenant_id=tenant, version=version, plan=plan, plan_version=1, entitlements=entitlements),
        at,
    )


def told(
    tenant: UUID,
    seq: int = 1,
    kind: type[TenantEvent] = TenantCreated,
    *,
    zone: str = "UTC",
    owner: UUID | None = None,
    members: int = 1,
    projects: int = 0,
) -> Record:
    """News of a tenant that owns itself unless said otherwise."""
    event = kind(
        tenant_id=tenant,
        slug=f"t{seq}",
        name=f"T{seq}",
        owner_id=owner or tenant,
        owner_email="t@example.org",
        timezone=zone,
        locale="en",
        members=members,
        projects=projects,
    )
    return record(seq, event)


def credited(
    seq: int, balance: int, spent: int = 0, month: str = "2026-03", *, tenant: UUID = TENANT, at: datetime | None = None
) -> Record:
    """What billing says of a tenant's credits."""
    return record(
        seq, CreditsChanged(tenant_id=tenant, balance=balance, spent_month=spent, month=month, at=at or moment(seq)), at
    )


def bought(seq: int, size: int, month: str = "2026-03", *, tenant: UUID = TENANT, at: datetime | None = None) -> Record:
    """Bytes of traffic above the plan's."""
    event = TrafficBought(
        tenant_id=tenant, transaction_id=UUID(int=seq), bytes=size, credits=1, month=month, at=at or moment(seq)
    )
    return record(seq, event, at)


def traffic(seq: int, until: datetime, *items: tuple[UUID | None, int, int, int], tenant: UUID = TENANT) -> Record:
    """Items are (project, in, out, requests)."""
    names = ("project_id", "bytes_in", "bytes_out", "requests")
    told = tuple(TrafficItem(**dict(zip(names, item, strict=True))) for item in items)
    since = until - timedelta(seconds=5)
    return record(seq, TrafficRecorded(tenant_id=tenant, since=since, until=until, items=told))


def record(seq: int, event: Event, at: datetime | None = None) -> Record:
    """The trace of entry n is 00-…n-…-01."""
    return Record(
        topic=event.topic,
        tenant_id=event.tenant_id,
        seq=seq,
        type=event.type,
        body=event.body().encode(),
        headers={"ce_time": (at or moment(seq)).isoformat().encode(), "ce_id": str(UUID(int=seq)).encode()},
        traceparent=trace(seq),
        event=event,
    )


def moment(seq: int) -> datetime:
    return START + timedelta(seconds=seq)


def trace(seq: int) -> str:
    return f"00-{seq:032x}-{seq:016x}-01"


def _file(tenant: UUID, file: File) -> dict[str, Any]:
    return {
        "tenant_id": tenant,
        "file_id": UUID(int=1),
        "path": "p",
        "name": "n",
        "size": file.size,
        "content_type": "a/b",
        "file_type": file.kind[0],
        "category": file.kind[1],
        "subcategory": None,
        "entity_id": None,
        "project_id": file.project,
        "sha256": "0" * 64,
        "uploaded_by": file.by,
        "folder": "",
        "version_of": UUID(int=2) if file.version else None,
    }
