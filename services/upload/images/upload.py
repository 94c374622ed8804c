"""`POST /api/images/upload`: a form whose file is an image, and takes one of the month's images."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

from services.upload.errors import NoImageLeft
from services.upload.files.rules import IMAGES
from services.upload.images.purchases.service import ImagePurchases, NotHeld
from services.upload.images.quota.rules import Allowance
from services.upload.images.quota.service import ImageQuotaService, Month, allowance_of
from services.upload.images.rules import check_image, check_kind
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.form import Announced, FormUpload
from services.upload.intake.intake import Intake
from services.upload.intake.placement import Placement
from shared.ids import new_id

HEAD = 4096  # bytes that say what a file is


@dataclass(frozen=True, slots=True)
class StoredImage:
    stored: Stored
    allowance: Allowance


class ImageForm(FormUpload):
    """What is no image by its content is refused with its first bytes, and gives its place in the month back."""

    month: Month
    _counted = True
    _head = b""

    async def receive_image(self, body: AsyncIterator[bytes], month: Month) -> Stored | Repeated:
        self.month = month
        return await self.receive(body)

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        await super()._stream(body)
        check_image(self._head)  # one smaller than its head was not looked at yet

    async def _take(self, piece: bytes) -> None:
        if len(self._head) < HEAD:
            self._head += piece[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                check_image(self._head)
        await super()._take(piece)

    def _placement(self) -> Placement:
        if not self._form.text("category"):
            self._form.fields["category"] = IMAGES
        placement = super()._placement()
        kind = check_kind(self._form.text("kind"))
        more = {} if kind is None else {"kind": kind}
        return replace(placement, metadata={**placement.metadata, **more})

    def _purpose(self) -> Purpose:
        return replace(super()._purpose(), month=self.month.first)


class ImageUploads:
    def __init__(self, intake: Intake, quota: ImageQuotaService, purchases: ImagePurchases) -> None:
        self._intake = intake
        self._quota = quota
        self._purchases = purchases

    async def receive(
        self, sender: Sender, announced: Announced, body: AsyncIterator[bytes], *, use_credits: bool = False
    ) -> StoredImage | UUID:
        """The image, or the id of the one an idempotency key has already stored. `use_credits`: one above the quota is
        paid for with them. Raises ImageQuotaRefused, and what FormUpload raises.
        """
        month = await self._quota.month(sender.tenant)
        try:
            try:
                form = await self._begin(sender, announced, month)
            except NoImageLeft as error:
                if not (use_credits and error.state.images_limit):
                    raise
                return await self._buy(sender, announced, body, month, error)
            return await self._receive(form, body, month)
        except NoImageLeft as error:
            raise await self._quota.refusal(sender.tenant, error, month.plan) from error

    async def _buy(
        self, sender: Sender, announced: Announced, body: AsyncIterator[bytes], month: Month, full: NoImageLeft
    ) -> StoredImage | UUID:
        upload = new_id()
        try:
            async with self._purchases.paying(sender.tenant, upload):
                form = await self._begin(sender, announced, month, upload)
                return await self._receive(form, body, month)
        except NotHeld:
            raise full from None

    async def _begin(
        self, sender: Sender, announced: Announced, month: Month, paid_as: UUID | None = None
    ) -> ImageForm:
        with self._quota.known():
            return await ImageForm.begin(self._intake, sender, announced, month.first, paid_as=paid_as)

    async def _receive(self, form: ImageForm, body: AsyncIterator[bytes], month: Month) -> StoredImage | UUID:
        result = await form.receive_image(body, month)
        if isinstance(result, Repeated):
            return result.file_id
        return StoredImage(result, allowance_of(result.account, month.first, month.plan))
