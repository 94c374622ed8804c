from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.usage.counters.rules import Change, Passed
from services.usage.thresholds.models import Alert
from services.usage.thresholds.repository import Key, ThresholdRepository
from services.usage.thresholds.rules import period_of
from shared import outbox
from shared.events import ThresholdCleared, ThresholdCrossed, ThresholdEvent


class ThresholdService:
    """Turns passed thresholds into alerts and announcements, in the transaction that changed the counter."""

    async def note(self, connection: Any, changes: Sequence[Change]) -> None:
        """Records every crossing and announces it, `threshold.crossed` upward and `threshold.cleared` downward."""
        if not changes:
            return
        thresholds = ThresholdRepository(connection)
        await thresholds.save_arms([(change.after.tenant_id, change.after.arms) for change in changes])
        up = [_alert(change.after.tenant_id, p) for change in changes for p in change.passed if p.passing.upward]
        down = [
            (_key(change.after.tenant_id, p), p.at) for change in changes for p in change.passed if not p.passing.upward
        ]
        periods = {(alert.tenant_id, alert.percent, alert.armed): alert.period for alert in up}
        new = await thresholds.insert_alerts(up) if up else set()
        if down:
            periods |= await thresholds.clear_alerts(down)
        for change in changes:
            tenant = change.after.tenant_id
            told = [p for p in change.passed if not p.passing.upward or _key(tenant, p) in new]
            await outbox.append(
                connection,
                [_event(tenant, p, periods) for p in told],
                at=change.passed[-1].at,
                traceparents=[p.traceparent for p in told],
            )


def _key(tenant: UUID, passed: Passed) -> Key:
    return tenant, passed.passing.percent, passed.passing.armed


def _alert(tenant: UUID, passed: Passed) -> Alert:
    passing = passed.passing
    if passing.limit is None:
        raise ValueError("an unlimited tenant has no thresholds to cross")
    return Alert(
        tenant_id=tenant,
        metric="storage",
        percent=passing.percent,
        period=period_of(passed.at),
        armed=passing.armed,
        used=passing.used,
        limit=passing.limit,
        speaks=passing.speaks,
        at=passed.at,
    )


def _event(tenant: UUID, passed: Passed, periods: dict[Key, Any]) -> ThresholdEvent:
    passing = passed.passing
    fact: dict[str, Any] = {
        "tenant_id": tenant,
        "metric": "storage",
        "percent": passing.percent,
        "used": passing.used,
        "limit": passing.limit,
        # A clearing belongs to the period of the alert it ends, which may be an earlier one.
        "period": periods.get(_key(tenant, passed)) or period_of(passed.at),
        "armed": passing.armed,
        "at": passed.at,
    }
    return ThresholdCrossed(**fact, speaks=passing.speaks) if passing.upward else ThresholdCleared(**fact)
