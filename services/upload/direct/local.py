"""Direct uploads to the local store: its URL is ours, and a signature is the permission to write there once."""

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn
from urllib.parse import urlencode
from uuid import UUID

from services.upload.direct.errors import BackendUnsupported
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Offer, Wanted, staging
from services.upload.direct.rules import Part
from services.upload.errors import LinkRefused
from shared.clock import Clock
from shared.security import signatures


class LocalOffers:
    """`secrets`: the first signs, all of them are believed."""

    def __init__(self, base_url: str, secrets: Sequence[str], clock: Clock) -> None:
        self._base = base_url.rstrip("/")
        self._secrets = secrets
        self._clock = clock

    async def begin(self, wanted: Wanted) -> Offer:
        if wanted.in_parts or wanted.size is None:
            _refuse_parts()
        until = int(wanted.until.timestamp())
        signature = signatures.make(self._secrets[0], "write", wanted.tenant, wanted.upload, wanted.size, until)
        query = urlencode({"tenant": wanted.tenant, "size": wanted.size, "expires": until, "sig": signature})
        url = f"{self._base}/api/storage/direct/{wanted.upload}?{query}"
        # Below it every request writes to a place of its own: what comes twice never meets.
        staged = f"{staging(wanted.upload)}/nothing"
        return Offer("put", "PUT", staged, url=url, headers={"Content-Type": wanted.content_type})

    def check(self, tenant: UUID, upload: UUID, size: int, expires: int, signature: str) -> None:
        """Raises LinkRefused. The signature first: only who holds a real URL may learn that it has expired."""
        if not signatures.matches(signature, self._secrets, "write", tenant, upload, size, expires):
            raise LinkRefused("link_invalid")
        if self._clock.now().timestamp() >= expires:
            raise LinkRefused("link_expired")

    def part_url(self, upload: DirectUpload, number: int, until: datetime) -> str:  # noqa: ARG002
        _refuse_parts()

    async def arrived(self, upload: DirectUpload) -> list[Part] | None:  # noqa: ARG002
        return None

    async def assemble(self, upload: DirectUpload, parts: Sequence[Part]) -> None:
        """Never asked: nothing comes in parts."""

    async def abort(self, upload: DirectUpload) -> None:
        """There is nothing but the staged object."""

    async def close(self) -> None:
        """Nothing is open."""


def _refuse_parts() -> NoReturn:
    raise BackendUnsupported("This store takes a direct upload in one piece; for pieces there are resumable uploads.")
