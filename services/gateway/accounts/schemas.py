"""Accounts as the API shows them."""

from uuid import UUID

from pydantic import BaseModel, Field

from services.gateway.accounts.models import Account
from services.gateway.tenants.schemas import TenantOut


class SignUpIn(BaseModel):
    """Anything else in the body, `is_admin` for one, is not looked at."""

    email: str = Field(max_length=320)
    password: str = Field(max_length=1024)
    name: str = Field(max_length=400)
    organization: str | None = Field(default=None, max_length=400)
    locale: str | None = Field(default=None, max_length=20)


class ProfileIn(BaseModel):
    name: str | None = Field(default=None, max_length=400)
    locale: str | None = Field(default=None, max_length=20)


class UserOut(BaseModel):
    id: UUID
    email: str
    name: str
    locale: str
    is_admin: bool

    @classmethod
    def of(cls, account: Account) -> "UserOut":
        return cls(
            id=account.id, email=account.email, name=account.name, locale=account.locale, is_admin=account.is_admin
        )


class MeOut(UserOut):
    tenants: list[TenantOut]

    @classmethod
    def of(cls, account: Account) -> "MeOut":
        return cls(**UserOut.of(account).model_dump(), tenants=[TenantOut.of(m) for m in account.memberships])
