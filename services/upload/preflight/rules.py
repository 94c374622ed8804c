"""Which files of a list would fit, in order, before a byte of them travels. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from services.upload.files.rules import IMAGES, Tree
from services.upload.images.quota.rules import Allowance
from services.upload.media.rules import is_allowed
from services.upload.quota.rules import State

Reason = Literal[
    "quota_exceeded",
    "file_too_large",
    "type_not_allowed",
    "unknown_category",
    "IMAGE_QUOTA_EXCEEDED",
    "IMAGE_QUOTA_PLAN_NOT_ALLOWED",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """One file somebody wants to store; `size` in bytes."""

    size: int
    content_type: str | None
    category: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """`largest` in bytes; `allowed`: one allow-list after the other, each to be passed."""

    tree: Tree
    largest: int
    allowed: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan as somebody may buy it; None is unlimited."""

    storage: int | None
    largest: int | None
    allowed: frozenset[str] | None
    images: int | None = None  # a month


@dataclass(frozen=True, slots=True)
class Verdict:
    """Reasons for each file, none where it fits. `missing`: bytes that would have to be free besides, for all files
    that may be stored at all.
    """

    reasons: list[list[Reason]]
    missing: int


def judge(files: Sequence[Asked], state: State, limits: Limits, images: Allowance | None = None) -> Verdict:
    """Each that fits takes its room; one that does not leaves it to the next, as it does when they are stored. `images`
    of the month, where any of the files is one: what is in their category is counted.
    """
    reasons, wanted = [], 0
    now = state
    for file in files:
        found = _static(file, limits)
        image = images if file.category == IMAGES else None
        if not found and image is not None and not image.allowed:
            found = ["IMAGE_QUOTA_EXCEEDED" if image.limit else "IMAGE_QUOTA_PLAN_NOT_ALLOWED"]
        if not found:
            wanted += file.size
            if file.size == 0 or now.fits(file.size):  # nothing always fits
                now = replace(now, reserved=now.reserved + file.size)
            else:
                found = ["quota_exceeded"]
        if not found and image is not None:
            images = replace(image, used=image.used + 1)
        reasons.append(found)
    missing = 0 if state.limit is None else max(0, state.used + state.reserved + wanted - state.limit)
    return Verdict(reasons, missing if wanted else 0)


def holds_all(
    files: Sequence[Asked], state: State, offer: Offer, limits: Limits, images: Allowance | None = None
) -> bool:
    """Would that plan take all of them? `limits`: of the installation, which no plan can lift."""
    largest = limits.largest if offer.largest is None else min(limits.largest, offer.largest)
    allowed = limits.allowed if offer.allowed is None else (*limits.allowed, offer.allowed)
    images = images and replace(images, limit=offer.images)
    verdict = judge(
        files, replace(state, limit=offer.storage), replace(limits, largest=largest, allowed=allowed), images
    )
    return not any(verdict.reasons)


def cheapest(
    files: Sequence[Asked],
    state: State,
    offers: Mapping[str, Offer],
    limits: Limits,
    current: str,
    images: Allowance | None = None,
) -> str | None:
    """Of `offers`, cheapest first, the first that would hold them all."""
    return next((c for c, o in offers.items() if c != current and holds_all(files, state, o, limits, images)), None)


def _static(file: Asked, limits: Limits) -> list[Reason]:
    found: list[Reason] = []
    if file.category is not None and file.category not in limits.tree:
        found.append("unknown_category")
    if file.size > limits.largest:
        found.append("file_too_large")
    if file.content_type is not None and not all(is_allowed(file.content_type, each) for each in limits.allowed):
        found.append("type_not_allowed")
    return found
