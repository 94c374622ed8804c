from uuid import UUID

from shared.errors import DomainError


class TeamNotFound(DomainError):
    """Also for a team that exists and is another's."""

    def __init__(self) -> None:
        super().__init__("team_not_found", 404, "There is no such team.")


class PaymentNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("payment_not_found", 404, "There is no such payment.")


class NotTheManager(DomainError):
    def __init__(self) -> None:
        super().__init__("manager_required", 403, "Only owners and admins of the team may pay.")


class PlanNotFound(DomainError):
    def __init__(self, code: str) -> None:
        super().__init__("plan_not_found", 422, f"There is no plan {code!r} to buy.")


class PriceNotFound(DomainError):
    def __init__(self, code: str) -> None:
        super().__init__("price_not_found", 422, f"Plan {code!r} is not sold in that currency by that interval.")


class AlreadyOnPlan(DomainError):
    def __init__(self, code: str) -> None:
        super().__init__("already_on_plan", 409, f"The team is on {code} already.")


class PaymentOpen(DomainError):
    """One payment for a plan at a time: two upgrades at once must not be paid twice."""

    def __init__(self, payment_id: str | None, payment_url: str | None) -> None:
        super().__init__(
            "payment_open", 409, "A payment is under way already.", payment_id=payment_id, payment_url=payment_url
        )


class BodyIncomplete(DomainError):
    """Nobody is left to read it."""

    def __init__(self) -> None:
        super().__init__("body_incomplete", 400, "The connection ended before the body.")


class BodyTooLarge(DomainError):
    def __init__(self) -> None:
        super().__init__("body_too_large", 413, "A callback has at most 64 KiB.")


class ForeignReturnUrl(DomainError):
    def __init__(self) -> None:
        super().__init__("foreign_return_url", 422, "The payer can only come back to this site.")


class NotCancellable(DomainError):
    def __init__(self, status: str) -> None:
        super().__init__("payment_not_open", 409, f"The payment is {status}.")


class ProviderUnavailable(DomainError):
    """Unknown is not failed: the payment stays, and the janitor asks what became of it."""

    def __init__(self, payment_id: str) -> None:
        super().__init__(
            "provider_unavailable", 503, "The payment provider does not answer; try again.", payment_id=payment_id
        )


class BooksOfManagers(DomainError):
    def __init__(self) -> None:
        super().__init__("manager_required", 403, "Only owners and admins of the team see and change its invoices.")


class InvoiceNotFound(DomainError):
    """Also for an invoice that exists and is another's."""

    def __init__(self) -> None:
        super().__init__("invoice_not_found", 404, "There is no such invoice.")


class InvoiceNotOpen(DomainError):
    def __init__(self, number: str, status: str) -> None:
        super().__init__("invoice_not_open", 409, f"Invoice {number} is {status}.")


class NothingToInvoice(DomainError):
    def __init__(self, detail: str) -> None:
        super().__init__("invoice_impossible", 422, detail)


class CreditTooLarge(DomainError):
    """`remaining` is what can still be given back of it, decimal text."""

    def __init__(self, detail: str, remaining: str) -> None:
        super().__init__("credit_too_large", 409, detail, remaining=remaining)


class SellerUnknown(DomainError):
    """No invoice is better than one in the wrong name: it could never be taken back."""

    def __init__(self) -> None:
        super().__init__("seller_unknown", 409, "INVOICE_SELLER is not set, so no invoice can be issued.")


class InvoiceHasNoXml(DomainError):
    def __init__(self, currency: str) -> None:
        super().__init__("invoice_has_no_xml", 404, f"EN 16931 knows no amounts of {currency}: it has three decimals.")


class NotRefundable(DomainError):
    def __init__(self, status: str) -> None:
        super().__init__("payment_not_completed", 409, f"The payment is {status}: there is nothing to give back.")


class RefundTooLarge(DomainError):
    def __init__(self, left: str, currency: str) -> None:
        super().__init__(
            "refund_too_large", 422, f"Between nothing and {left} {currency} can be given back.", refundable=left
        )


class RefundIdReused(DomainError):
    def __init__(self) -> None:
        super().__init__("refund_id_reused", 422, "This client_id was used for another refund.")


class RefundRefused(DomainError):
    def __init__(self, refund_id: UUID) -> None:
        super().__init__("refund_refused", 409, "The provider refused to give it back.", refund_id=str(refund_id))


class CallbackNotStored(DomainError):
    """Whoever sent it must send it again."""

    def __init__(self) -> None:
        super().__init__("not_stored", 503, "The callback could not be stored; send it again.")


class ProviderNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("not_found", 404, "There is no such payment provider here.")


class CallbackNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("callback_not_found", 404, "There is no such callback.")


class CallbackNotDead(DomainError):
    def __init__(self, verdict: str) -> None:
        super().__init__("callback_not_dead", 409, f"The callback is {verdict}: only a dead one is replayed.")


class PurposeNotSold(DomainError):
    def __init__(self, purpose: str) -> None:
        super().__init__("purpose_not_sold", 422, f"Nothing is set up to carry out a payment of {purpose}.")


class PaymentRequired(DomainError):
    """More is paid for first: `POST /api/payments/{team}/initiate`, and the team has it when the money has come."""

    def __init__(self, plan: str, price: str, currency: str) -> None:
        detail = f"{plan} costs {price} {currency}: pay for it, and it is yours at once."
        super().__init__("payment_required", 402, detail, plan=plan, price=price, currency=currency)


class RestNotCreditable(DomainError):
    def __init__(self, currency: str) -> None:
        detail = (
            f"What is left cannot become credits, of which none are sold in {currency}: change at the period's end."
        )
        super().__init__("rest_not_creditable", 409, detail)


class NothingToPay(DomainError):
    def __init__(self, plan: str) -> None:
        detail = f"What is left of the period covers {plan}: change to it, now or at the period's end."
        super().__init__("nothing_to_pay", 409, detail)


class RefundUnderWay(DomainError):
    def __init__(self) -> None:
        detail = "Money paid for this period is just being given back: try again when that is done."
        super().__init__("refund_under_way", 409, detail)


class SubscriptionChangedMeanwhile(DomainError):
    def __init__(self, version: int) -> None:
        super().__init__("subscription_changed", 409, "Somebody else changed it meanwhile.", version=version)


class TrialNotOffered(DomainError):
    def __init__(self, code: str) -> None:
        super().__init__("trial_not_offered", 422, f"Plan {code!r} cannot be tried.")


class TrialUsed(DomainError):
    def __init__(self, code: str) -> None:
        super().__init__("trial_used", 409, f"The team has tried {code} already.")


class TrialNotNow(DomainError):
    """What was paid for, or is being tried, would be lost."""

    def __init__(self, plan: str) -> None:
        super().__init__("trial_not_now", 409, f"A trial begins on the default plan, and the team is on {plan}.")


class PlanLimit(DomainError):
    """`limit` None: the plan has none of it."""

    def __init__(self, what: str, asked: float, limit: float | None, upgrade_url: str) -> None:
        said = "has none of it" if limit is None else f"allows {limit:g}"
        super().__init__(
            f"plan_limit_{what}", 403, f"The plan {said}.", asked=asked, limit=limit, upgrade_url=upgrade_url
        )


class OtherCurrency(DomainError):
    """What is left of a period is money of its own currency, and would be lost."""

    def __init__(self, currency: str) -> None:
        super().__init__(
            "other_currency",
            409,
            f"The period under way is paid in {currency}, and part of it is left: pay in that, or change at its end.",
            currency=currency,
        )
