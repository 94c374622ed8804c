"""Answers of the resumable protocol: every one carries its version, every refusal has a stable code."""

from collections.abc import Callable, Coroutine, Mapping
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.upload.resumable.errors import VersionUnsupported, WrongOffset
from services.upload.resumable.progress import Progress
from services.upload.resumable.rules import VERSION
from shared.errors import DomainError
from shared.http import ClientGone, owner_headers, problem_response

SKIMMED = 16 * 1024 * 1024  # bytes of an unwanted body that are read away rather than the connection closed

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class TusRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        return spoken(super().get_route_handler())


def spoken(handle: Handler) -> Handler:
    """Answers and refuses as the protocol wants it."""

    async def answer(request: Request) -> Response:
        try:
            if request.method != "OPTIONS" and request.headers.get("tus-resumable") != VERSION:
                raise VersionUnsupported
            response = await handle(request)
        except ClientGone:
            # Nobody reads this answer.
            response = problem_response(400, "incomplete_body", "The body ended early.")
            response.headers["connection"] = "close"
        except DomainError as error:
            response = _refusal(error, request.headers)
        response.headers["tus-resumable"] = VERSION
        return response

    return answer


def _refusal(error: DomainError, asked: Mapping[str, str]) -> Response:
    headers = {"cache-control": "no-store"}
    if isinstance(error, VersionUnsupported):
        headers["tus-version"] = VERSION
    if isinstance(error, WrongOffset):
        headers["upload-offset"] = str(error.extras["upload_offset"])
    length = asked.get("content-length", "0")
    if "transfer-encoding" in asked or not length.isdigit() or int(length) > SKIMMED:
        headers["connection"] = "close"
    return problem_response(error.status, error.code, error.detail, headers=headers, **error.extras)


def headers_of(tenant: UUID, progress: Progress) -> dict[str, str]:
    """What is told after every step. The file's id has a header of its own, for clients that look for it."""
    headers = {"upload-offset": str(progress.offset), "cache-control": "no-store"}
    headers |= owner_headers(tenant, progress.project)
    if progress.expires_at is not None:
        headers["upload-expires"] = format_datetime(progress.expires_at, usegmt=True)
    if progress.file is not None:
        headers["x-file-id"] = str(progress.file)
    return headers


def headers_of_all(tenant: UUID, progress: Progress) -> dict[str, str]:
    """What is told when asked for."""
    headers = headers_of(tenant, progress)
    if progress.length is None:
        headers["upload-defer-length"] = "1"
    else:
        headers["upload-length"] = str(progress.length)
    if progress.said:
        headers["upload-metadata"] = progress.said
    if progress.concat is not None:
        headers["upload-concat"] = progress.concat
    return headers
