"""What really lies in a store, asked past the service."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from minio import Minio

from services.upload.blobs.parts import READY
from tests.fixtures.stores import ObjectServer


class Inside(Protocol):
    async def held(self) -> dict[str, int]:
        """Bytes of everything in it by name, as the files have it; also of what was begun and never ended."""
        ...


@dataclass(frozen=True, slots=True)
class Disk:
    root: Path

    async def held(self) -> dict[str, int]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)).removeprefix("blobs/"): path.stat().st_size for path in found}


@dataclass(frozen=True, slots=True)
class Bucket:
    """`spool`: the folder of parts on their way to it."""

    server: ObjectServer
    name: str
    spool: Path

    async def held(self) -> dict[str, int]:
        return await asyncio.to_thread(self._objects) | await Disk(self.spool).held()

    def _objects(self) -> dict[str, int]:
        where = urlsplit(self.server.url).netloc
        client = Minio(where, self.server.key, self.server.secret, secure=False, region="us-east-1")
        objects = client.list_objects(self.name, recursive=True)
        found = {str(one.object_name): one.size or 0 for one in objects if one.object_name != READY}
        begun = client._list_multipart_uploads(self.name)
        return found | {f"{one.object_name}?uploadId={one.upload_id}": 0 for one in begun.uploads}
