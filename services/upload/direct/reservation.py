"""The space a direct upload holds, from its offer to its end."""

from datetime import timedelta

from services.upload.direct.models import DirectUpload
from services.upload.intake.policy import Policy
from services.upload.intake.space import Space
from services.upload.quota.service import AccountService


class Reservations:
    def __init__(self, accounts: AccountService, policy: Policy) -> None:
        self._accounts = accounts
        self._policy = policy

    def of(self, upload: DirectUpload) -> Space:
        """To make it hold more."""
        return Space(
            self._accounts,
            upload.tenant_id,
            upload.id,
            lifetime=timedelta(seconds=upload.lifetime),
            upgrade_url=self._policy.upgrade_url,
        )

    async def prolong(self, upload: DirectUpload) -> None:
        """A sign of life: what it holds it holds for another lifetime."""
        lifetime = timedelta(seconds=upload.lifetime)
        await self._accounts.hold(upload.tenant_id, upload.id, 0, lifetime)

    async def release(self, upload: DirectUpload) -> None:
        await self._accounts.release(upload.tenant_id, upload.id)
