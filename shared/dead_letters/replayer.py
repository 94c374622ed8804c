"""Dead letters applied again, each exactly once: the letter and its effect are one transaction."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import Gauge

from shared.db import Database, savepoint
from shared.dead_letters import repository
from shared.kafka.consumer import TRANSIENT, Apply
from shared.kafka.dead_letters import text_of
from shared.kafka.records import Record
from shared.kafka.sequence import read_body
from shared.kafka.tracing import traced
from shared.outbox import Listener

log = logging.getLogger(__name__)

WAITING = Gauge("stowage_dead_letters_waiting", "Dead letters neither replayed nor discarded", ["group", "topic"])

CHANNEL = "dead_letters"
POLL = 1.0  # seconds between looks, should a notice be lost


class Replayer:
    """A worker's task. `replay(connection, [record])` gets one record at a time, which the consumer has gone past
    without its effect: what the service remembers of the stream must neither stop it nor be moved back by it.
    """

    def __init__(
        self,
        database: Database,
        group: str,
        replay: Apply,
        *,
        on_committed: Callable[[Sequence[Record]], object] | None = None,
    ) -> None:
        self._database = database
        self._group = group
        self._replay = replay
        self._on_committed = on_committed
        self._topics: set[str] = set()

    async def run(self) -> None:
        """Until cancelled: at once when somebody asks, and through a database that is away for a while."""
        async with Listener(self._database.dsn, CHANNEL) as listener:
            while True:
                try:
                    await self.work()
                    await self._measure()
                except TRANSIENT as error:
                    log.warning("%s: dead letters wait: %s: %s", self._group, type(error).__name__, error)
                    await asyncio.sleep(POLL)  # a notice must not make a loop of it
                await listener.wait(POLL)

    async def work(self) -> None:
        """Replays every letter that is asked for and in no other worker's hands. Raises what passes by itself: that
        letter is as it was.
        """
        while await self._replay_next():
            pass

    async def _replay_next(self) -> bool:
        """False when there is none."""
        async with self._database.transaction() as connection:
            letter = await repository.lock_requested(connection, self._group)
            if letter is None:
                return False
            record = _record(letter)
            error = await self._apply(connection, record)
            if error is None:
                await repository.mark_replayed(connection, letter["id"])
            else:
                await repository.mark_failed(connection, letter["id"], text_of(error))
        if error is not None:
            log.error("%s: dead letter %s fails again: %s", self._group, letter["id"], text_of(error))
            return True
        log.info("%s: dead letter %s is replayed", self._group, letter["id"])
        if self._on_committed is not None:
            self._on_committed([record])
        return True

    async def _apply(self, connection: Any, record: Record) -> Exception | None:
        """Returns why it cannot be, with nothing of it done."""
        try:
            async with savepoint(connection):
                read_body(record)
                with traced(self._group, [record]):
                    await self._replay(connection, [record])
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes with the letter
            return error
        return None

    async def _measure(self) -> None:
        async with self._database.transaction() as connection:
            counts = await repository.count_waiting(connection, self._group)
        self._topics |= counts.keys()
        for topic in self._topics:
            WAITING.labels(self._group, topic).set(counts.get(topic, 0))


def _record(letter: Any) -> Record:
    headers = {name: value.encode() for name, value in letter["headers"].items()}
    return Record(
        topic=letter["topic"],
        tenant_id=letter["tenant_id"],
        seq=letter["seq"],
        type=letter["type"],
        body=letter["value"] or b"",
        headers=headers,
        traceparent=letter["headers"].get("traceparent"),
        partition=letter["partition"],
        offset=letter["record_offset"],
    )
