"""Sums of traffic, and the events they become. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from shared.events import TrafficItem, TrafficRecorded
from shared.events.traffic import ITEMS

Key = tuple[UUID, UUID | None]  # tenant, project


@dataclass(slots=True)
class Sum:
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0

    def add(self, bytes_in: int, bytes_out: int, requests: int) -> None:
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.requests += requests


def events_of(sums: Mapping[Key, Sum], since: datetime, until: datetime) -> list[TrafficRecorded]:
    """In the order of tenants, so that two processes that write them never wait for each other."""
    events: list[TrafficRecorded] = []
    for tenant, keys in groupby(sorted(sums, key=_by_tenant), key=_tenant):
        items = [_item(project, sums[tenant, project]) for _, project in keys]
        events += [
            TrafficRecorded(tenant_id=tenant, since=since, until=until, items=tuple(items[start : start + ITEMS]))
            for start in range(0, len(items), ITEMS)
        ]
    return events


def _item(project: UUID | None, held: Sum) -> TrafficItem:
    return TrafficItem(project_id=project, bytes_in=held.bytes_in, bytes_out=held.bytes_out, requests=held.requests)


def _tenant(key: Key) -> UUID:
    return key[0]


def _by_tenant(key: Key) -> tuple[UUID, str]:
    return key[0], str(key[1])
