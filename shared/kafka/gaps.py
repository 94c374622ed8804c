"""Fetching what Kafka did not bring from the ledger that wrote it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.errors import UpstreamError
from shared.http.client import ServiceClient
from shared.kafka.dead_letters import Failed
from shared.kafka.records import Record
from shared.kafka.sequence import Gap

GapFetcher = Callable[[Gap], Awaitable[list[Record]]]

PAGE = 500


@dataclass(slots=True)
class Batch:
    """Records that could be read, and those that could not."""

    records: list[Record] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)


async def heal(batch: Batch, gaps: Sequence[Gap], fetch: GapFetcher | None) -> Batch:
    """The batch with what was missing put in, and what the source never wrote taken out. Raises UpstreamError."""
    if fetch is None:
        raise UpstreamError(503, "source_unknown", "a gap is seen and no source is known to ask")
    for gap in gaps:
        found = await fetch(gap)
        if gap.broken is not None:
            batch = Batch([r for r in batch.records if not _is(r, gap, gap.after + 1)], [*batch.failed, gap.broken])
        missing = gap.before - gap.after - 1 - len(found)
        if missing:
            # Events are written before they are sent: what the ledger does not have was never true.
            batch = _without(batch, gap, gap.after + 1 + len(found))
        batch.records.extend(found)
    return batch


def _without(batch: Batch, gap: Gap, seq: int) -> Batch:
    kept = [r for r in batch.records if _key(r) != (gap.topic, gap.tenant_id) or r.seq < seq]
    error = LookupError(f"the source's ledger has no seq {seq}")
    gone = [Failed.of(r, error) for r in batch.records if _key(r) == (gap.topic, gap.tenant_id) and r.seq >= seq]
    return Batch(kept, [*batch.failed, *gone])


def _key(record: Record) -> tuple[str, UUID]:
    return record.topic, record.tenant_id


def _is(record: Record, gap: Gap, seq: int) -> bool:
    return record.partition >= 0 and record.seq == seq and _key(record) == (gap.topic, gap.tenant_id)


def http_gaps(sources: Mapping[str, ServiceClient]) -> GapFetcher:
    """Asks the service that owns the topic (`GET /internal/outbox/{topic}/{tenant}`)."""

    async def fetch(gap: Gap) -> list[Record]:
        found: list[Record] = []
        after = gap.after
        while after + 1 < gap.before:
            limit = min(PAGE, gap.before - after - 1)
            path = f"/internal/outbox/{gap.topic}/{gap.tenant_id}?after={after}&limit={limit}"
            items = (await sources[gap.topic].request_json("GET", path))["items"]
            if not items:
                break
            found += [_record(gap, item) for item in items]
            after = items[-1]["seq"]
        return found

    return fetch


def _record(gap: Gap, item: dict[str, str]) -> Record:
    headers = {"ce_id": item["id"].encode(), "ce_time": item["time"].encode(), "ce_type": item["type"].encode()}
    return Record(
        topic=gap.topic,
        tenant_id=gap.tenant_id,
        seq=int(item["seq"]),
        type=item["type"],
        body=item["body"].encode(),
        headers=headers,
        traceparent=item["traceparent"],
    )
