"""What this process has hashed of uploads that are not whole yet."""

from collections import OrderedDict
from uuid import UUID

from services.upload.blobs.digest import Digest

REMEMBERED = 4096  # uploads, of about 5 KiB each


class Digests:
    """An upload whose digest is forgotten, or was another process's, is read once more when it is whole."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, Digest] = OrderedDict()

    def after(self, upload_id: UUID, offset: int) -> Digest | None:
        """A copy to go on with, if it stands at exactly that offset."""
        if offset == 0:
            return Digest()
        known = self._known.get(upload_id)
        return known.copy() if known is not None and known.size == offset else None

    def keep(self, upload_id: UUID, digest: Digest) -> None:
        self._known[upload_id] = digest.copy()
        self._known.move_to_end(upload_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, upload_id: UUID) -> None:
        self._known.pop(upload_id, None)
