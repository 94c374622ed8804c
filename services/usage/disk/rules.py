"""What of an engine's disk is whose. Pure: no clock, no socket, no settings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Volume:
    """`size` in bytes; None where the engine does not know it."""

    size: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """`size` in bytes with all layers, `shared` what of it other images have, too; None where it is not known."""

    size: int | None
    shared: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


class Labels(NamedTuple):
    """Names of the labels that say whose a thing is; their values are UUIDs."""

    tenant: str
    project: str


class Owner(NamedTuple):
    tenant: UUID
    project: UUID


@dataclass(frozen=True, slots=True)
class Amount:
    """`unknown` of the volumes and images have a size nobody knows: they are counted and weigh nothing."""

    volumes_bytes: int = 0
    images_bytes: int = 0
    volumes: int = 0
    images: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """`mislabelled` of the unassigned things carry a label that names nobody."""

    projects: Mapping[Owner, Amount]
    unassigned: Amount
    mislabelled: int


def tally(volumes: Iterable[Volume], images: Iterable[Image], labels: Labels) -> Tally:
    """Every thing belongs to exactly one project, or to nobody."""
    found: defaultdict[Owner | None, tuple[list[Volume], list[Image]]] = defaultdict(lambda: ([], []))
    for volume in volumes:
        found[owner_of(volume.labels, labels)][0].append(volume)
    for image in images:
        found[owner_of(image.labels, labels)][1].append(image)
    lost_volumes, lost_images = found.pop(None, ([], []))
    lost: list[Volume | Image] = [*lost_volumes, *lost_images]
    mislabelled = sum(not thing.labels.keys().isdisjoint(labels) for thing in lost)
    projects = {owner: measured(*things) for owner, things in found.items() if owner is not None}
    return Tally(projects, measured(lost_volumes, lost_images), mislabelled)


def owner_of(carried: Mapping[str, str], labels: Labels) -> Owner | None:
    """None unless both labels are there and readable."""
    try:
        return Owner(UUID(carried[labels.tenant]), UUID(carried[labels.project]))
    except (KeyError, ValueError):
        return None


def measured(volumes: Sequence[Volume], images: Sequence[Image]) -> Amount:
    unknown = sum(volume.size is None for volume in volumes) + sum(image.size is None for image in images)
    return Amount(sum(volume.size or 0 for volume in volumes), weight(images), len(volumes), len(images), unknown)


def weight(images: Iterable[Image]) -> int:
    """Bytes the images surely take together.

    The engine tells how much of an image is shared, not with which others. What each has alone is added up; of the
    shared parts the largest is counted, once: it lies there whatever the others share with it. With one base for all,
    as is usual, that is exact; with several it is too little, and never too much.
    """
    own = shared = 0
    for image in images:
        size = image.size or 0
        part = size if image.shared is None else min(image.shared, size)
        own += size - part
        shared = max(shared, part)
    return own + shared
