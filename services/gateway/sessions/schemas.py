"""Signing in, as the API shows it."""

from typing import Literal

from pydantic import BaseModel, Field

from services.gateway.accounts.schemas import UserOut
from services.gateway.sessions.service import Tokens
from services.gateway.tenants.schemas import TenantOut


class LogInIn(BaseModel):
    email: str = Field(max_length=320)
    password: str = Field(max_length=1024)


class RefreshIn(BaseModel):
    refresh_token: str = Field(max_length=200)


class LogOutIn(BaseModel):
    refresh_token: str | None = Field(default=None, max_length=200)


class TokensOut(BaseModel):
    """`expires_in` seconds, of the access token."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a word of the standard
    expires_in: int

    @classmethod
    def of(cls, tokens: Tokens) -> "TokensOut":
        return cls(access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in)


class SignedInOut(TokensOut):
    """`tenant` is the one that is meant where no other is named; None when there is none."""

    user: UserOut
    tenant: TenantOut | None
