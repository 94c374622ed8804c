"""Events as a real load has them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.events import FileStored
from shared.ids import new_id

START = datetime(2026, 3, 1, tzinfo=UTC)
SIZE = 1_000  # bytes of each file
PEOPLE = 5  # of each tenant, who upload in turns


def file_stored(tenant: UUID) -> FileStored:
    file_id = new_id()
    return FileStored(
        tenant_id=tenant,
        file_id=file_id,
        path=f"{tenant}/documents/{file_id}.pdf",
        name="harbour plan, second draft.pdf",
        size=SIZE,
        content_type="application/pdf",
        file_type="document",
        category="documents",
        subcategory=None,
        entity_id=None,
        project_id=None,
        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        uploaded_by=UUID(int=file_id.int % PEOPLE + 1),
        stored_at=START,
    )


def outbox_row(tenant: UUID, seq: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant,
        "seq": seq,
        "id": new_id(),
        "type": "file.stored",
        "occurred_at": START,
        "body": file_stored(tenant).body(),
        "traceparent": None,
    }


def outbox_rows(tenants: list[UUID], each: int) -> list[dict[str, Any]]:
    """`each` events a tenant, the tenants taking turns."""
    return [outbox_row(tenant, seq) for seq in range(1, each + 1) for tenant in tenants]
