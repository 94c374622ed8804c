"""Which notices come by mail: chosen in the account, or refused by the link in a mail (RFC 8058)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from services.gateway.dependencies import Caller, GatewayParts, Parts, UserId
from services.gateway.errors import StopLinkInvalid
from services.gateway.notifications.refusals import RefusalRepository
from services.gateway.notifications.rules import SUBJECTS, Subject
from services.gateway.notifications.texts import language_of, texts_of
from services.gateway.pages.render import render

router = APIRouter(prefix="/api/notifications", tags=["notices"])


class MailChoice(BaseModel):
    """Whether notices about it come by mail, too. About payments and invoices they always do."""

    model_config = ConfigDict(extra="forbid")

    storage: bool = True
    traffic: bool = True
    images: bool = True
    requests: bool = True
    disk: bool = True
    members: bool = True
    projects: bool = True
    credits: bool = True
    plan: bool = True
    export: bool = True

    @property
    def refused(self) -> list[Subject]:
        return [subject for subject in SUBJECTS if not getattr(self, subject)]


class NotificationSettings(BaseModel):
    """The caller's own, for all their teams."""

    model_config = ConfigDict(extra="forbid")

    mails: MailChoice


@router.get("/settings")
async def get_settings(user: UserId, parts: Parts) -> NotificationSettings:
    async with parts.database.transaction() as connection:
        refused = await RefusalRepository(connection).list_of(user)
    return NotificationSettings(mails=MailChoice(**{subject: subject not in refused for subject in SUBJECTS}))


@router.put("/settings")
async def put_settings(body: NotificationSettings, user: UserId, parts: Parts) -> NotificationSettings:
    """The whole choice: what is left out comes by mail."""
    async with parts.database.transaction() as connection:
        await RefusalRepository(connection).replace(user, body.mails.refused, parts.clock.now())
    return body


async def _signed(
    parts: Parts,
    user: Annotated[UUID, Query(description="whose mails they are")],
    about: Annotated[Subject, Query()],
    sig: Annotated[str, Query(max_length=64)],
) -> tuple[UUID, Subject]:
    """Raises StopLinkInvalid."""
    if not parts.stop_links.holds(user, about, sig):
        raise StopLinkInvalid
    return user, about


Signed = Annotated[tuple[UUID, Subject], Depends(_signed)]


@router.get("/unsubscribe", response_class=Response, responses={200: {"content": {"text/html": {}}}})
async def ask_unsubscribe(request: Request, signed: Signed, caller: Caller, parts: Parts) -> Response:
    """A page that asks. It changes nothing: mail scanners open every link."""
    async with parts.database.transaction() as connection:
        locale = await RefusalRepository(connection).find_locale(signed[0])
    return _page(request, signed[1], locale, caller, parts, done=False)


@router.post("/unsubscribe", response_class=Response, responses={200: {"content": {"text/html": {}}}})
async def unsubscribe(request: Request, signed: Signed, caller: Caller, parts: Parts) -> Response:
    """No more mails about it. Safe to repeat; asked for by the page or, in one click, by a mail program."""
    user, about = signed
    async with parts.database.transaction() as connection:
        refusals = RefusalRepository(connection)
        locale = await refusals.find_locale(user)
        if locale is not None:
            await refusals.insert(user, [about], parts.clock.now())
    return _page(request, about, locale, caller, parts, done=True)


def _page(
    request: Request, about: Subject, locale: str | None, caller: Caller, parts: GatewayParts, *, done: bool
) -> Response:
    """In the language of whose mails they are; somebody who is no more gets no mails and an English page."""
    language = language_of(locale or "")
    return render(
        request,
        "unsubscribe.html",
        caller,
        parts.form_key,
        texts=texts_of(language),
        language=language,
        about=about,
        done=done,
    )
