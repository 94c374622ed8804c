from collections.abc import Sequence
from datetime import date
from typing import Any

from services.usage.thresholds.models import Alert
from services.usage.thresholds.repository import Key, ThresholdRepository
from services.usage.thresholds.rules import Crossings, Passed
from shared import outbox
from shared.events import ThresholdCleared, ThresholdCrossed, ThresholdEvent


class ThresholdService:
    """Turns passed thresholds into alerts and announcements, in the transaction that changed the counter."""

    async def note(self, connection: Any, changes: Sequence[Crossings]) -> None:
        """Records every crossing and announces it, `threshold.crossed` upward and `threshold.cleared` downward. Of the
        crossings of one metric the highest that stands speaks, however many entries they come from.
        """
        if not changes:
            return
        thresholds = ThresholdRepository(connection)
        await thresholds.save_arms(changes)
        up = [_alert(change, p) for change in changes for p in change.passed if p.passing.upward]
        down = [(_key(change, p), p.at) for change in changes for p in change.passed if not p.passing.upward]
        periods = {_key(change, p): p.month for change in changes for p in change.passed if p.passing.upward}
        new = await thresholds.insert_alerts(up) if up else set()
        if down:
            periods |= await thresholds.clear_alerts(down)
        for change in changes:
            told = [p for p in change.passed if not p.passing.upward or _key(change, p) in new]
            await outbox.append(
                connection,
                # A clearing belongs to the period of the alert it ends, which may be an earlier one.
                [_event(change, p, periods.get(_key(change, p)) or p.month) for p in told],
                at=change.passed[-1].at,
                traceparents=[p.traceparent for p in told],
            )


def _key(change: Crossings, passed: Passed) -> Key:
    return change.tenant_id, change.metric, passed.passing.level, passed.passing.armed


def _alert(change: Crossings, passed: Passed) -> Alert:
    passing = passed.passing
    return Alert(
        tenant_id=change.tenant_id,
        metric=change.metric,
        unit=passing.level.unit,
        value=passing.level.value,
        period=passed.month,
        armed=passing.armed,
        used=passing.used,
        limit=passing.limit,
        hard=passing.threshold.hard,
        speaks=passing is change.speaker,
        at=passed.at,
    )


def _event(change: Crossings, passed: Passed, period: date) -> ThresholdEvent:
    passing, threshold = passed.passing, passed.passing.threshold
    fact: dict[str, Any] = {
        "tenant_id": change.tenant_id,
        "metric": change.metric,
        "percent": threshold.level.percent,
        "amount": threshold.level.amount,
        "used": passing.used,
        "limit": passing.limit,
        "period": period,
        "armed": passing.armed,
        "at": passed.at,
    }
    if not passing.upward:
        return ThresholdCleared(**fact)
    return ThresholdCrossed(**fact, speaks=passing is change.speaker, hard=threshold.hard, channels=threshold.channels)
