"""`/api/admin/{service}/dead-letters`, for administrators of the platform."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from shared.db import Database
from shared.dead_letters.replayer import CHANNEL
from shared.dead_letters.schemas import DeadLetterOut, DiscardIn, ReplayOut, State, WholeDeadLetterOut
from shared.dead_letters.service import DeadLetterService
from shared.http import AdminOnly, Page, Paging, encode_cursor, read_position
from shared.outbox import Wake

_Topic = Annotated[str | None, Query(max_length=249)]


def dead_letter_router(service: str, database: Database) -> APIRouter:
    """The same for each service that consumes, under its name."""
    router = APIRouter(prefix=f"/api/admin/{service}/dead-letters", tags=["admin"])
    letters = DeadLetterService(database, Wake(database, CHANNEL).set)

    @router.get("")
    async def list_dead_letters(
        _who: AdminOnly, paging: Paging, topic: _Topic = None, state: State = "waiting"
    ) -> Page[DeadLetterOut]:
        """Records that could not be applied, of all tenants, newest first."""
        found = await letters.list_newest(paging.limit + 1, read_position(paging.cursor), topic, state)
        more, found = len(found) > paging.limit, found[: paging.limit]
        cursor = encode_cursor(found[-1]["created_at"].isoformat(), found[-1]["id"]) if more else None
        return Page(items=[DeadLetterOut.of(row) for row in found], next_cursor=cursor)

    @router.get("/{letter_id}")
    async def get_dead_letter(letter_id: UUID, _who: AdminOnly) -> WholeDeadLetterOut:
        """One of them, with headers and body."""
        return WholeDeadLetterOut.of(await letters.get(letter_id))

    @router.post("/replay", status_code=202)
    async def replay_dead_letters(who: AdminOnly, topic: _Topic = None) -> ReplayOut:
        """Asks for all that wait to be applied again, or those of one topic. The list says what came of it."""
        return ReplayOut(requested=await letters.replay_all(topic, str(who.user_id)), topic=topic)

    @router.post("/{letter_id}/replay", status_code=202)
    async def replay_dead_letter(letter_id: UUID, who: AdminOnly) -> DeadLetterOut:
        """Asks for one to be applied again: once, however often it is asked for. If that fails it waits again, with the
        new error.
        """
        return DeadLetterOut.of(await letters.replay(letter_id, str(who.user_id)))

    @router.post("/{letter_id}/discard")
    async def discard_dead_letter(letter_id: UUID, body: DiscardIn, who: AdminOnly) -> DeadLetterOut:
        """Its effect will never come. It is kept, with the reason, who said so and when."""
        return DeadLetterOut.of(await letters.discard(letter_id, str(who.user_id), body.reason))

    return router
