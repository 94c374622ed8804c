"""The written contract between services. No I/O, no behaviour; golden bodies stand in `tests/contracts/events/`."""

from shared.events.alerts import (
    Channel,
    Metric,
    ThresholdCleared,
    ThresholdCrossed,
    ThresholdEvent,
    UsageRecalculated,
)
from shared.events.base import Event
from shared.events.billing import (
    PaymentCancelled,
    PaymentCompleted,
    PaymentEvent,
    PaymentFailed,
    PaymentMethod,
    PaymentPurpose,
    PaymentRefunded,
    SubscriptionChanged,
)
from shared.events.entitlements import Entitlements, EntitlementsChanged
from shared.events.files import (
    FileBefore,
    FileDeleted,
    FileEvent,
    FileMoved,
    FileReplaced,
    FileRestored,
    FileStored,
    FileTrashed,
    FileType,
    StorageAdjusted,
)
from shared.events.registry import COMPACTED, EVENTS, TOPICS, UnknownEventType, decode
from shared.events.tenants import TenantCreated, TenantDeleted, TenantEvent, TenantUpdated
from shared.events.traffic import TrafficItem, TrafficRecorded

__all__ = [
    "COMPACTED",
    "EVENTS",
    "TOPICS",
    "Channel",
    "Entitlements",
    "EntitlementsChanged",
    "Event",
    "FileBefore",
    "FileDeleted",
    "FileEvent",
    "FileMoved",
    "FileReplaced",
    "FileRestored",
    "FileStored",
    "FileTrashed",
    "FileType",
    "Metric",
    "PaymentCancelled",
    "PaymentCompleted",
    "PaymentEvent",
    "PaymentFailed",
    "PaymentMethod",
    "PaymentPurpose",
    "PaymentRefunded",
    "StorageAdjusted",
    "SubscriptionChanged",
    "TenantCreated",
    "TenantDeleted",
    "TenantEvent",
    "TenantUpdated",
    "ThresholdCleared",
    "ThresholdCrossed",
    "ThresholdEvent",
    "TrafficItem",
    "TrafficRecorded",
    "UnknownEventType",
    "UsageRecalculated",
    "decode",
]
