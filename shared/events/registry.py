"""Every event by its type."""

from collections.abc import Callable

from pydantic import TypeAdapter

from shared.events.alerts import ThresholdCleared, ThresholdCrossed, UsageRecalculated
from shared.events.base import Event
from shared.events.billing import (
    CreditsChanged,
    InvoiceDue,
    InvoiceIssued,
    PaymentCancelled,
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    SubscriptionChanged,
    TrafficBought,
)
from shared.events.entitlements import EntitlementsChanged
from shared.events.exports import ExportFailed, ExportReady
from shared.events.files import (
    FileDeleted,
    FileMoved,
    FileReplaced,
    FileRestored,
    FileStored,
    FileTrashed,
    StorageAdjusted,
)
from shared.events.tenants import (
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    ProjectCreated,
    ProjectDeleted,
    TenantCreated,
    TenantDeleted,
    TenantUpdated,
)
from shared.events.traffic import TrafficRecorded

_ALL: tuple[type[Event], ...] = (
    FileStored,
    FileReplaced,
    FileMoved,
    FileTrashed,
    FileRestored,
    FileDeleted,
    StorageAdjusted,
    TenantCreated,
    TenantUpdated,
    TenantDeleted,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    ProjectCreated,
    ProjectDeleted,
    EntitlementsChanged,
    SubscriptionChanged,
    PaymentCompleted,
    PaymentFailed,
    PaymentCancelled,
    CreditsChanged,
    PaymentRefunded,
    ThresholdCrossed,
    ThresholdCleared,
    UsageRecalculated,
    TrafficRecorded,
    InvoiceDue,
    InvoiceIssued,
    TrafficBought,
    ExportReady,
    ExportFailed,
)

EVENTS: dict[str, type[Event]] = {event.type: event for event in _ALL}
# The validators themselves: two calls less for every record there is.
_PARSERS: dict[str, Callable[[str | bytes], Event]] = {
    name: TypeAdapter(event).validator.validate_json for name, event in EVENTS.items()
}
TOPICS: tuple[str, ...] = tuple(sorted({event.topic for event in _ALL}))

# The newest record per key is the whole truth of these topics, so Kafka may forget the older ones.
COMPACTED: frozenset[str] = frozenset({"tenants.v1", "entitlements.v1"})


class UnknownEventType(LookupError):
    """A newer producer speaks of something this version does not know: counted and passed over."""


def decode(event_type: str, body: str | bytes) -> Event:
    """Raises UnknownEventType, or pydantic.ValidationError when the body breaks the contract."""
    parse = _PARSERS.get(event_type)
    if parse is None:
        raise UnknownEventType(event_type)
    return parse(body)
