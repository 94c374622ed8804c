"""`POST /api/images/upload`: a form whose file is an image, and takes one of the month's images."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

from services.upload.errors import NoImageLeft
from services.upload.files.rules import IMAGES
from services.upload.images.quota.rules import Allowance
from services.upload.images.quota.service import ImageQuotaService, Month, allowance_of
from services.upload.images.rules import check_image, check_kind
from services.upload.intake.acceptance import Purpose, Repeated, Sender, Stored
from services.upload.intake.form import Announced, FormUpload
from services.upload.intake.intake import Intake
from services.upload.intake.placement import Placement

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
    def __init__(self, intake: Intake, quota: ImageQuotaService) -> None:
        self._intake = intake
        self._quota = quota

    async def receive(self, sender: Sender, announced: Announced, body: AsyncIterator[bytes]) -> StoredImage | UUID:
        """The image, or the id of the one an idempotency key has already stored. Raises ImageQuotaRefused, and what
        FormUpload raises.
        """
        month = await self._quota.month(sender.tenant)
        try:
            with self._quota.known():
                form = await ImageForm.begin(self._intake, sender, announced, month.first)
            result = await form.receive_image(body, month)
        except NoImageLeft as error:
            raise self._quota.refusal(error, month.plan) from error
        if isinstance(result, Repeated):
            return result.file_id
        return StoredImage(result, allowance_of(result.account, month.first, month.plan))
