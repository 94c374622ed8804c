"""Sending rows of an outbox as CloudEvents, a batch a partition."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Self
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from opentelemetry.trace import SpanKind

from shared.kafka.cluster import cluster_id
from shared.telemetry import is_sampled, span, traceparent_of

MAX_BATCH = 512 * 1024  # bytes; half of Kafka's default message.max.bytes


class Publisher:
    """An idempotent producer that waits for all replicas."""

    def __init__(self, bootstrap: str, *, source: str) -> None:
        self._bootstrap = bootstrap
        self._source = source.encode()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=MAX_BATCH,
            linger_ms=0,
            request_timeout_ms=20_000,
        )
        self._partitions: dict[UUID, int] = {}

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        # What is unsent is in the ledger: a broker that is gone must not hold up the stop.
        try:
            async with asyncio.timeout(2):
                await self._producer.stop()
        except TimeoutError:
            pass

    async def cluster_id(self) -> str:
        return await cluster_id(self._bootstrap)

    async def publish(self, topic: str, rows: Sequence[Any]) -> None:
        """Sends rows of (tenant_id, seq, id, type, occurred_at, body, traceparent), each tenant in the order given.

        Returns when the cluster holds them all; raises KafkaError when it might not.
        """
        partitions = sorted(await self._producer.partitions_for(topic))
        parted: dict[int, list[Any]] = {}
        for row in rows:
            tenant = row["tenant_id"]
            partition = self._partitions.get(tenant)
            if partition is None or partition not in partitions:
                partition = self._partitions[tenant] = partition_of(str(tenant).encode(), partitions)
            parted.setdefault(partition, []).append(row)
        async with asyncio.TaskGroup() as group:
            for partition, part in parted.items():
                group.create_task(self._send(topic, partition, part))

    async def _send(self, topic: str, partition: int, rows: Iterable[Any]) -> None:
        waiting = []
        batch = self._producer.create_batch()
        for row in rows:
            key = str(row["tenant_id"]).encode()
            value = row["body"].encode()
            stamp = int(row["occurred_at"].timestamp() * 1000)
            headers = self._headers(topic, row)
            if batch.append(key=key, value=value, timestamp=stamp, headers=headers) is None:
                batch.close()
                waiting.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                if batch.append(key=key, value=value, timestamp=stamp, headers=headers) is None:
                    raise ValueError(f"{topic}: event {row['id']} is larger than {MAX_BATCH} bytes")
        if batch.record_count():
            batch.close()
            waiting.append(await self._producer.send_batch(batch, topic, partition=partition))
        for sent in waiting:
            await sent

    def _headers(self, topic: str, row: Any) -> list[tuple[str, bytes]]:
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(row["id"]).encode()),
            ("ce_source", self._source),
            ("ce_type", row["type"].encode()),
            ("ce_time", row["occurred_at"].isoformat().encode()),
            ("ce_subject", str(row["tenant_id"]).encode()),
            ("ce_tenantseq", b"%d" % row["seq"]),
            ("content-type", b"application/json"),
        ]
        traceparent = row["traceparent"]
        if traceparent is not None:
            if is_sampled(traceparent):
                with span(f"{topic} publish", parent=traceparent, kind=SpanKind.PRODUCER) as current:
                    traceparent = traceparent_of(current) or traceparent
            headers.append(("traceparent", traceparent.encode()))
        return headers


def partition_of(key: bytes, partitions: Sequence[int]) -> int:
    """Kafka's standard partitioner, so that any other producer with the same key agrees."""
    return partitions[(int(murmur2(key)) & 0x7FFFFFFF) % len(partitions)]
