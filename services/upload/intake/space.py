"""The space one upload holds while its bytes come."""

import asyncio
from datetime import date, timedelta
from uuid import UUID

from services.upload.errors import NoImageLeft, QuotaExceeded, ReservationLost
from services.upload.quota.changes import Result
from services.upload.quota.rules import State
from services.upload.quota.service import AccountService, quota_of
from shared.errors import DomainError

SMALL = 128 * 1024  # bytes of a body that is judged when it is here: it came along with its head
STEP = 1024 * 1024  # bytes asked for beyond those in hand, when the size is unknown


class Space:
    """`size` bytes are held in the upload's name. `credit`: bytes that go when it settles, because it takes another
    file's place; so many fewer have to be held. `month`: one image of that month is held too; `paid`: above the quota,
    if need be.
    """

    def __init__(
        self,
        accounts: AccountService,
        tenant: UUID,
        upload: UUID,
        *,
        lifetime: timedelta,
        upgrade_url: str,
        credit: int = 0,
        month: date | None = None,
        paid: bool = False,
        held: int = 0,
    ) -> None:
        self._accounts = accounts
        self._tenant = tenant
        self._upload = upload
        self._lifetime = lifetime
        self._upgrade_url = upgrade_url
        self._credit = credit
        self._month = month
        self._paid = paid
        self._size = held  # bytes the file may have so far
        self._holds = held > 0
        self._told = asyncio.get_running_loop().time()  # when its life was last prolonged

    async def reserve(self, size: int) -> Result:
        """For a file of `size` bytes in all. Raises QuotaExceeded, NoImageLeft."""
        result = await self._hold(size)
        if result.refused == "images" and self._month is not None:
            raise NoImageLeft(result.state, self._month)
        if result.refused == "bytes":
            raise QuotaExceeded(quota_of(result.state), size, self._upgrade_url)
        return result

    def refusal(self, account: State, size: int) -> DomainError:
        """Why a settlement of `size` bytes was refused."""
        # Where another file was to make room, it may have gone meanwhile.
        lost = self._holds and not self._credit
        return ReservationLost() if lost else QuotaExceeded(quota_of(account), size, self._upgrade_url)

    def postpone(self, size: int) -> None:
        """For a body too small to be worth asking first: up to `size` bytes its settlement asks for the space."""
        self._size = size

    async def cover(self, received: int, likely: int) -> None:
        """More came than was announced: first asks for all that may come, then for exactly what is in hand."""
        if received <= self._size:
            return
        if not (await self._hold(max(received, likely))).ok:
            await self.reserve(received)

    async def prolong(self) -> None:
        """A slow upload's space lives as long as bytes come."""
        if not self._holds:
            return
        now = asyncio.get_running_loop().time()
        if now - self._told > self._lifetime.total_seconds() / 3:
            await self._hold(self._size)

    async def renew(self) -> None:
        """Its life begins anew. Raises QuotaExceeded when it was over, and the space is somebody else's."""
        await self.reserve(self._size)

    async def release(self) -> None:
        if self._holds:
            await self._accounts.release(self._tenant, self._upload)

    async def _hold(self, size: int) -> Result:
        wanted = max(0, size - self._credit)
        result = await self._accounts.hold(
            self._tenant, self._upload, wanted, self._lifetime, self._month, paid=self._paid
        )
        if result.ok:
            self._size = max(size, self._size)
            self._holds = True
            self._told = asyncio.get_running_loop().time()
        return result
