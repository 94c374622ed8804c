"""The writer of the object stores: bytes go to the spool, and from there to the store a part at a time."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.upload.blobs.digest import Buffer, Digest
from services.upload.blobs.disk import explained
from services.upload.blobs.parts import (
    PARTS,
    REMOVED,
    Part,
    Parted,
    PartStore,
    Progress,
    least_part,
    part_size,
    tail,
)
from services.upload.blobs.spool import Piece
from services.upload.blobs.store import Occupied, StoreFull, StoreUnavailable
from services.upload.blobs.wire import Memory
from shared.http import Arrived

BUFFER = 256 * 1024  # bytes handed to the spool together; as many again may be on their way there
AT_ONCE = 3  # parts of one upload on their way to the store
QUICK = 64 * 1024  # bytes hashed without a thread


class WritesParts:
    """What the object stores have in common: their writers, and that their blobs lie elsewhere."""

    async def open_file(self, path: str, size: int) -> None:  # noqa: ARG002 - there is none
        return None

    async def delete_all(self: PartStore, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), REMOVED):
            await asyncio.gather(*map(self.delete, paths[start : start + REMOVED]))

    def create(self: PartStore, upload_id: UUID, digest: Digest, path: str | None = None) -> "PartsWriter":
        return PartsWriter(self, upload_id, digest, path)

    def resume(
        self: PartStore,
        upload_id: UUID,
        state: Mapping[str, Any],
        offset: int,
        digest: Digest | None,
        path: str | None = None,
    ) -> "PartsWriter":
        return PartsWriter(self, upload_id, digest, path, Progress.load(state, offset))


class PartsWriter:
    """A BlobWriter. Less than a buffer never touches the disk, less than a part is one request."""

    def __init__(
        self, store: PartStore, upload: UUID, digest: Digest | None, path: str | None, safe: Progress | None = None
    ) -> None:
        self._store = store
        self._upload = upload
        self._digest = digest
        self._path = path
        self._safe = safe or Progress()
        self._saved = safe is not None  # there may be tails
        self._tried = False  # there may be parts, even if nobody told us how they are called
        self._fetched = self._safe.tail == 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._piece: Piece | None = None
        self._writing: asyncio.Future[Any] | None = None
        self._opening: asyncio.Task[Parted] | None = None
        self._count = len(self._safe.parts)
        self._parts: dict[int, Part] = dict(enumerate(self._safe.parts, 1))
        self._sends: set[asyncio.Task[None]] = set()
        self._placing: asyncio.Task[None] | None = None
        self._placed: str | None = None

    def aim(self, path: str) -> None:
        if not self._begun:
            self._path = path

    async def write(self, chunk: bytes) -> None:
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= BUFFER:
            await self._flush()

    async def take(self, arrived: Arrived, most: int) -> int:
        await self._spooled()
        piece = self._piece = self._piece or self._store.spool.piece()
        room = part_size(self._count + 1) - piece.size
        self._writing = taking = self._store.spool.takers.start(arrived, min(most, room), piece.append, self._count_in)
        with explained():
            taken = await asyncio.shield(taking)  # as in `_written`
        if not piece.size:
            self._close_piece()  # an empty one would become a part
        await self._written()
        return taken

    async def checkpoint(self) -> dict[str, Any]:
        await self._spooled()
        if self._piece is not None and self._piece.size >= least_part(self._count + 1):
            await self._send_piece()
        await self._settled()
        before, size = self._safe, await self._save_tail()
        if before.older is not None:
            await self._store.delete(tail(self._upload, before.older))
        # The last tail stays until the caller has written down that it is not needed: at the next checkpoint.
        older = len(before.parts) if before.tail and len(before.parts) != self._count else None
        parts = tuple(self._parts[number] for number in range(1, self._count + 1))
        self._safe = Progress(await self._parted(), parts, size, older)
        return self._safe.dump()

    async def _save_tail(self) -> int:
        """Returns its bytes."""
        if self._piece is None:
            return 0
        if (self._count, self._piece.size) != (len(self._safe.parts), self._safe.tail):
            self._saved = True
            await self._store.put_tail(tail(self._upload, self._count), self._piece)
        return self._piece.size

    async def counted(self) -> None:
        """`checkpoint` has seen to it."""

    async def finish(self) -> None:
        if self._piece is None and not self._begun and self._fetched:
            await self._hash()  # never touched the disk, and need not
            return
        await self._spooled()
        if self._begun and self._piece is not None:
            await self._send_piece()
        await self._settled()

    async def place(self, path: str) -> None:
        self._placed = path  # said first: half a placement must be undone too
        self._placing = asyncio.ensure_future(self._place(path))
        try:
            await asyncio.shield(self._placing)
        except Occupied:
            self._placed = None  # what lies there is not ours to remove
            raise

    async def suspend(self) -> None:
        await self._stop()

    async def abort(self) -> None:
        await self._stop()
        parted = await self._parted()
        if parted is not None or self._saved or self._tried:
            await self._store.discard(self._upload, self._path, parted)
        if self._placed is not None:
            await self._store.delete(self._placed)

    async def _place(self, path: str) -> None:
        parted = await self._parted()
        if parted is None:
            await self._store.put(path, self._piece or Memory(self._buffer), self._upload)
        else:
            parts = [self._parts[number] for number in range(1, self._count + 1)]
            await self._store.join(self._upload, parted, parts, path)
        self._close_piece()
        if self._saved:
            await self._store.discard(self._upload, self._path, None)

    @property
    def _begun(self) -> bool:
        """There are parts."""
        return self._opening is not None or self._safe.parted is not None

    async def _hash(self) -> None:
        digest = self._digest
        if digest is None:
            return
        if self._buffered <= QUICK:
            digest.update(self._buffer)
        else:
            await self._store.spool.start(lambda: digest.update(self._buffer))

    async def _parted(self) -> Parted | None:
        return self._safe.parted if self._opening is None else await asyncio.shield(self._opening)

    async def _flush(self) -> None:
        """What is in the buffer is on its way to the spool; what went before has arrived."""
        await self._written()
        if self._piece is None:
            self._piece = self._store.spool.piece()
        chunks, self._buffer, self._buffered = self._buffer, [], 0
        self._writing = self._store.spool.start(self._appending(self._piece, chunks))

    def _appending(self, piece: Piece, chunks: list[bytes]) -> Callable[[], None]:
        def append() -> None:
            piece.append(chunks)
            self._count_in(chunks)

        return append

    def _count_in(self, chunks: Sequence[Buffer]) -> None:
        if self._digest is not None:
            self._digest.update(chunks)

    async def _written(self) -> None:
        if not self._fetched:
            await self._fetch_tail()
        if self._writing is not None:
            with explained():
                await asyncio.shield(self._writing)  # cancelled or not, the thread goes on
            self._writing = None
        if self._piece is not None and self._piece.size >= part_size(self._count + 1):
            await self._send_piece()

    async def _spooled(self) -> None:
        if self._buffer:
            await self._flush()
        await self._written()

    async def _fetch_tail(self) -> None:
        """What the process before this one had not yet put into a part."""
        piece = self._store.spool.piece()
        try:
            async for chunk in self._store.read(tail(self._upload, self._count), 0, self._safe.tail):
                await self._store.spool.run(lambda: piece.append([chunk]))  # noqa: B023 - run at once
            self._piece, self._fetched = piece, True
        except FileNotFoundError:
            raise StoreUnavailable from None
        finally:
            if self._piece is not piece:
                piece.close()

    async def _send_piece(self) -> None:
        if self._count >= PARTS:
            raise StoreFull
        if not self._begun:
            self._tried = True
            self._opening = asyncio.ensure_future(self._store.begin(self._upload, self._path))
        parted = await self._parted()
        assert parted is not None  # noqa: S101 - begun just above at the latest
        while len(self._sends) >= AT_ONCE:
            await self._first_sent()
        piece, self._piece = self._piece, None
        assert piece is not None  # noqa: S101 - callers look
        self._count += 1
        send = asyncio.create_task(self._send(parted, self._count, piece))
        send.add_done_callback(lambda _: piece.close())  # also of one that never began
        self._sends.add(send)

    async def _send(self, parted: Parted, number: int, piece: Piece) -> None:
        async with self._store.spool.sending:
            tag = await self._store.put_part(self._upload, parted, number, piece)
        self._parts[number] = Part(tag, piece.size)

    async def _first_sent(self) -> None:
        done, self._sends = await asyncio.wait(self._sends, return_when=asyncio.FIRST_COMPLETED)
        errors = [error for task in done if (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    async def _settled(self) -> None:
        while self._sends:
            await self._first_sent()

    async def _stop(self) -> None:
        """Nothing of ours is under way any more. What must not be cut in the middle has come to its end."""
        for task in self._sends:
            task.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        self._sends = set()
        for unfinished in (self._writing, self._opening, self._placing):
            if unfinished is not None:
                with contextlib.suppress(Exception):
                    await asyncio.shield(unfinished)
        self._writing = None
        if self._opening is not None and self._opening.exception() is not None:
            self._opening = None
        self._close_piece()

    def _close_piece(self) -> None:
        if self._piece is not None:
            self._piece.close()
            self._piece = None
