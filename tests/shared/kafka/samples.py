"""Events as services write them, for tests of the wire."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from shared.events import Entitlements, EntitlementsChanged, Event, FileStored
from shared.kafka import Record

AT = datetime(2025, 1, 25, 10, 0, tzinfo=UTC)
UNLIMITED = Entitlements(
    storage_bytes=None,
    traffic_bytes_month=None,
    images_month=None,
    teams=None,
    members=None,
    projects=None,
    cpu=None,
    memory_bytes=None,
    custom_domains=True,
    max_file_bytes=None,
)


def stored(tenant: UUID, size: int = 10) -> FileStored:
    file_id = uuid4()
    return FileStored(
        tenant_id=tenant,
        file_id=file_id,
        path=f"customers/{tenant}/documents/{file_id}.txt",
        name="note.txt",
        size=size,
        content_type="text/plain",
        file_type="document",
        category="documents",
        subcategory=None,
        entity_id=None,
        project_id=None,
        sha256="00" * 32,
        uploaded_by=None,
        stored_at=AT,
    )


def event(kind: str, tenant: UUID, seq: int) -> Event:
    if kind == "entitlements.changed":
        return EntitlementsChanged(tenant_id=tenant, version=seq, plan="pro", plan_version=1, entitlements=UNLIMITED)
    return stored(tenant)


def record(tenant: UUID, seq: int, kind: str = "file.stored") -> Record:
    made = event(kind, tenant, seq)
    headers = {"ce_id": str(uuid4()).encode(), "ce_time": AT.isoformat().encode()}
    return Record(made.topic, tenant, seq, kind, made.body().encode(), headers, None, partition=0, offset=seq)


def wire(sample: Record) -> list[tuple[str, bytes]]:
    return [
        *sample.headers.items(),
        ("ce_type", sample.type.encode()),
        ("ce_tenantseq", b"%d" % sample.seq),
    ]
