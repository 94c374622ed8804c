"""Where every upload begins: the plan is asked, the space is held, the writer is opened."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import UUID

from services.upload.blobs.digest import Digest
from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobWriter
from services.upload.entitlements.service import EntitlementService
from services.upload.entitlements.terms import Terms
from services.upload.errors import FileTooLarge, TenantGone
from services.upload.intake.acceptance import Acceptance, Sender
from services.upload.intake.incoming import Incoming
from services.upload.intake.policy import Policy
from services.upload.intake.space import SMALL, Space
from services.upload.quota.service import AccountService
from shared import faults
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Asked:
    """`least` and `most`: bytes the file will have in any case, and cannot exceed, if that is known. `credit`,
    `month` and `paid` as in Space; `path` if known.
    """

    least: int
    most: int | None = None
    credit: int = 0
    month: date | None = None
    paid: bool = False
    path: str | None = None
    resumable: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that goes on after `offset` bytes in the store `location`: `held` bytes of space are its own, for
    `lifetime` from each renewal; `limit`: it may have so many in all, None as many as the plan allows.
    """

    id: UUID
    location: str
    writer: BlobWriter
    digest: Digest | None
    offset: int
    held: int
    limit: int | None
    lifetime: timedelta


class Intake:
    """Decides on what is said in advance alone, so that a refusal costs no byte of the body."""

    def __init__(
        self,
        accounts: AccountService,
        entitlements: EntitlementService,
        acceptance: Acceptance,
        locations: Locations,
        policy: Policy,
    ) -> None:
        self._accounts = accounts
        self._entitlements = entitlements
        self._acceptance = acceptance
        self._locations = locations
        self.policy = policy
        self.spool = locations.spool

    async def terms(self, tenant: UUID, least: int, *, resumable: bool = False) -> Terms:
        """Raises FileTooLarge, but never for a figure that has just changed; TenantGone and EntitlementsUnknown."""
        terms = await self._entitlements.terms(tenant)
        if terms.deleted:
            raise TenantGone
        if least > self.policy.largest(terms, resumable=resumable):
            terms = await self._entitlements.terms(tenant, fresh=True)
        limit = self.policy.largest(terms, resumable=resumable)
        if least > limit:
            raise FileTooLarge(limit)
        return terms

    async def credit(self, tenant: UUID, size: int, *, scanned: bool = True) -> int:
        """Bytes that go at the moment a file of `size` bytes is replaced: none where they stay, as a version, or until
        the new ones, if these are to be `scanned`, are found clean.
        """
        terms = await self.terms(tenant, 0)
        return 0 if terms.versions_kept or (scanned and self.policy.scans) else size

    def space(
        self,
        sender: Sender,
        upload: UUID,
        *,
        credit: int = 0,
        month: date | None = None,
        paid: bool = False,
        held: int = 0,
        lifetime: timedelta | None = None,
    ) -> Space:
        return Space(
            self._accounts,
            sender.tenant,
            upload,
            lifetime=lifetime or self.policy.lifetime,
            upgrade_url=self.policy.upgrade_url,
            credit=credit,
            month=month,
            paid=paid,
            held=held,
        )

    async def begin(self, sender: Sender, asked: Asked, upload: UUID | None = None) -> Incoming:
        """Raises FileTooLarge, QuotaExceeded, TenantGone, EntitlementsUnknown."""
        upload = upload or new_id()
        terms = await self.terms(sender.tenant, asked.least, resumable=asked.resumable)
        store = self._locations[terms.location]
        space = self.space(sender, upload, credit=asked.credit, month=asked.month, paid=asked.paid)
        if asked.most is not None and asked.most <= SMALL and asked.month is None:
            space.postpone(asked.most)
        else:
            await space.reserve(asked.least)
        faults.reach("upload.reserved")
        digest = Digest()
        return Incoming(
            self._acceptance,
            sender,
            upload,
            store,
            store.create(upload, digest, asked.path),
            digest,
            space,
            terms,
            limit=self.policy.largest(terms, resumable=asked.resumable),
        )

    async def resume(self, sender: Sender, begun: Begun) -> Incoming:
        """Raises EntitlementsUnknown."""
        terms = await self.terms(sender.tenant, 0)
        limit = self.policy.largest(terms, resumable=True) if begun.limit is None else begun.limit
        return Incoming(
            self._acceptance,
            sender,
            begun.id,
            self._locations[begun.location],
            begun.writer,
            begun.digest,
            self.space(sender, begun.id, held=begun.held, lifetime=begun.lifetime),
            replace(terms, location=begun.location),
            limit=limit,
            received=begun.offset,
        )
