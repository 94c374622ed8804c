"""Who may ask how often."""

from services.gateway.errors import TooManyRequests
from services.gateway.limits.buckets import Buckets, Rate
from services.gateway.settings import Settings


class Limits:
    def __init__(self, settings: Settings) -> None:
        self._addresses = Buckets(Rate(settings.address_rate, settings.address_burst))
        self._tenants = Buckets(Rate(settings.tenant_rate, settings.tenant_burst))
        self._attempts = Buckets(Rate(settings.login_rate, settings.login_burst))
        self._signups = Buckets(Rate(settings.signup_rate, settings.signup_burst))

    def address(self, address: str) -> None:
        """Raises TooManyRequests, as all of these do."""
        _take(self._addresses, address)

    def tenant(self, tenant: object) -> None:
        _take(self._tenants, str(tenant))

    def login(self, address: str, email: str) -> None:
        """Counts attempts, right or wrong, on one e-mail address from one place."""
        _take(self._attempts, (address, email.strip().lower()), "Too many attempts to sign in. Wait a little.")

    def signup(self, address: str) -> None:
        _take(self._signups, address, "Too many accounts from one place. Wait a little.")


def _take(buckets: Buckets, key: object, detail: str = "Too many requests.") -> None:
    wait = buckets.take(key)
    if wait > 0:
        raise TooManyRequests(wait, detail)
