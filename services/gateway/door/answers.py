"""A refusal at the door, in the same form as everywhere else."""

from starlette.types import Receive, Scope, Send

from shared.errors import DomainError
from shared.http import problem_response


async def answer_problem(error: DomainError, scope: Scope, receive: Receive, send: Send) -> None:
    """RFC 9457. Reads nothing of the request's body."""
    headers = {"cache-control": "no-store", **getattr(error, "headers", {})}
    response = problem_response(error.status, error.code, error.detail, headers=headers, **error.extras)
    await response(scope, receive, send)
