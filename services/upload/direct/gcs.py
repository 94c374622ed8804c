"""Direct uploads to Google Cloud Storage: a signed PUT with a limit, or a session that takes exactly so many bytes."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from services.upload.blobs.store import StoreUnavailable
from services.upload.blobs.wire import Memory, Request, Wire
from services.upload.direct.errors import BackendUnsupported, NotInParts
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Offer, Wanted, staging
from services.upload.direct.rules import Part

Headers = Callable[[], Awaitable[dict[str, str]]]


class GcsOffers:
    """`endpoint` is where we reach the store, `public` where clients do. `headers` say who we are. Without a service
    account's `key` nothing can be signed, and every offer is a session.
    """

    def __init__(
        self, endpoint: str, public: str, bucket: str, headers: Headers, key: dict[str, Any] | None, seconds: float
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._public = public.rstrip("/")
        self._bucket = bucket
        self._headers = headers
        self._key = key
        self._wire = Wire("gcs", _as_signed, seconds)

    async def begin(self, wanted: Wanted) -> Offer:
        if wanted.size is None:
            raise BackendUnsupported("This store has to be told a file's size.")
        if wanted.in_parts or self._key is None:
            return await self._begin_session(wanted, wanted.size)
        staged = staging(wanted.upload)
        headers = {"x-goog-content-length-range": f"0,{wanted.size}", "Content-Type": wanted.content_type}
        return Offer("put", "PUT", staged, url=self._signed(self._key, staged, wanted.until, headers), headers=headers)

    def part_url(self, upload: DirectUpload, number: int, until: datetime) -> str:  # noqa: ARG002
        raise NotInParts

    async def arrived(self, upload: DirectUpload) -> list[Part] | None:  # noqa: ARG002
        return None

    async def assemble(self, upload: DirectUpload, parts: Sequence[Part]) -> None:
        """Never asked: nothing comes in parts."""

    async def abort(self, upload: DirectUpload) -> None:
        """A session that has ended is not there any more."""
        session = upload.backend.get("session")
        if session is not None:
            answer = await self._wire.ask(Request("DELETE", session, {"Content-Length": "0"}))
            if answer.status >= 500:
                raise StoreUnavailable

    async def close(self) -> None:
        await self._wire.close()

    async def _begin_session(self, wanted: Wanted, size: int) -> Offer:
        """Google takes no byte more than it is told here, and calls nothing complete that has fewer."""
        staged = staging(wanted.upload)
        headers = {
            **await self._headers(),
            "Content-Type": "application/json; charset=UTF-8",
            "X-Upload-Content-Length": str(size),
            "X-Upload-Content-Type": wanted.content_type,
            **({} if wanted.origin is None else {"Origin": wanted.origin}),
        }
        query = urlencode({"uploadType": "resumable", "name": staged})
        url = f"{self._endpoint}/upload/storage/v1/b/{quote(self._bucket)}/o?{query}"
        answer = await self._wire.ask(Request("POST", url, headers, Memory(json.dumps({"name": staged}).encode())))
        session = answer.expect(200, 201).headers["Location"]
        backend = {"session": session}
        return Offer("session", "PUT", staged, url=self._from_outside(session), backend=backend)

    def _signed(self, key: dict[str, Any], staged: str, until: datetime, headers: dict[str, str]) -> str:
        from google.cloud.storage import Client  # type: ignore[import-untyped]
        from google.oauth2.service_account import Credentials

        credentials: Any = Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]
        blob = Client(project="none", credentials=credentials).bucket(self._bucket).blob(staged)
        url: str = blob.generate_signed_url(
            version="v4",
            expiration=until,
            method="PUT",
            headers=headers,
            credentials=credentials,
            api_access_endpoint=self._public,
        )
        return url

    def _from_outside(self, session: str) -> str:
        """The session's address as clients reach it."""
        found, public = urlsplit(session), urlsplit(self._public)
        return found._replace(scheme=public.scheme, netloc=public.netloc).geturl()


async def _as_signed(request: Request) -> tuple[str, dict[str, str]]:
    return request.url, dict(request.headers)
