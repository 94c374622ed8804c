"""The same figures for Prometheus, of the last 30 days: counted by a job, so that no scrape asks the database."""

from prometheus_client import Gauge

from services.billing.metrics.service import Metrics, MetricsService
from shared.money import minor_digits

RECURRING = Gauge(
    "stowage_billing_recurring", "What paying teams bring a month, in units of the currency", ["currency"]
)
PAYING = Gauge("stowage_billing_paying_teams", "Teams that pay for their plan", ["currency"])
CONVERSION = Gauge("stowage_billing_conversion_ratio", "Teams that paid for the first time, of those that had not")
CHURN = Gauge("stowage_billing_churn_ratio", "Teams that pay no more, of those that paid 30 days ago")
PAYMENTS = Gauge("stowage_billing_recent_payments", "Payments begun, by what became of them", ["method", "outcome"])
SUCCESS = Gauge("stowage_billing_payment_success_ratio", "Completed payments, of those that are decided", ["method"])
PREFERRED = Gauge("stowage_billing_preferred_method", "1 for the method most payments were completed with", ["method"])

_NONE = float("nan")  # a share of nothing


class MetricGauges:
    def __init__(self, service: MetricsService) -> None:
        self._service = service

    async def measure(self) -> None:
        _show(await self._service.get())


def _show(found: Metrics) -> None:
    for gauge in (RECURRING, PAYING, PAYMENTS, SUCCESS, PREFERRED):
        gauge.clear()  # what is no more must not stay as it was
    for money, teams in found.recurring:
        RECURRING.labels(money.currency).set(money.amount / 10 ** minor_digits(money.currency))
        PAYING.labels(money.currency).set(teams)
    for one in found.payments:
        for outcome in ("completed", "failed", "cancelled", "open"):
            PAYMENTS.labels(one.method, outcome).set(getattr(one, outcome))
        SUCCESS.labels(one.method).set(_NONE if one.success.ratio is None else one.success.ratio)
        PREFERRED.labels(one.method).set(one.method == found.preferred)
    CONVERSION.set(_NONE if found.conversion.ratio is None else found.conversion.ratio)
    CHURN.set(_NONE if found.churn.ratio is None else found.churn.ratio)
