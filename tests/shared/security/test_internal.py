"""The token between services: whole, for one audience, for a minute, or nothing."""

import base64
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.security import InvalidToken, Principal, sign, verify
from shared.security.internal import LEEWAY, LIFETIME

SECRET = "0123456789abcdef0123456789abcdef-tests-of-the-token"
OTHER = "fedcba9876543210fedcba9876543210-tests"
PERSON = Principal(
    kind="user",
    user_id=UUID(int=1),
    tenant_id=UUID(int=2),
    tenant_slug="acme",
    role="owner",
    is_admin=True,
    email="ann@acme.test",
    name="Ånn",
    issuer="gateway",
)
CLAIMS = {"kind": "service", "iss": "gateway", "aud": "billing"}


def token(who: Principal = PERSON, *, audience: str = "billing", lifetime: int = LIFETIME) -> str:
    return sign(who, secret=SECRET, audience=audience, issuer="gateway", lifetime=lifetime)


def read(signed: str, *, secret: str = SECRET, audience: str = "billing") -> Principal:
    return verify(signed, secret=secret, audience=audience)


def claimed(**changes: Any) -> str:
    """A token signed with the right secret that says what it is told; None leaves a claim out."""
    claims = {**CLAIMS, "exp": int(time.time()) + 60, **changes}
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, SECRET, algorithm="HS256")


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "who",
    [
        PERSON,
        Principal(issuer="gateway"),
        Principal(kind="service", issuer="gateway"),
        Principal(kind="user", user_id=UUID(int=3), issuer="gateway"),
    ],
)
def test_what_was_signed_is_read(who: Principal) -> None:
    signed = token(who)
    assert [read(signed), read(signed)] == [who, who]


def test_the_issuer_is_who_signed_not_what_the_principal_says() -> None:
    signed = sign(PERSON, secret=SECRET, audience="billing", issuer="upload")
    assert read(signed).issuer == "upload"


def test_it_is_for_one_audience() -> None:
    signed = token(audience="billing")
    read(signed)
    with pytest.raises(InvalidToken):
        read(signed, audience="usage")


def test_it_is_signed_with_one_secret() -> None:
    signed = token()
    read(signed)
    with pytest.raises(InvalidToken):
        read(signed, secret=OTHER)


def test_every_character_of_every_part_counts() -> None:
    signed = token()
    read(signed)
    for place, character in enumerate(signed):
        altered = signed[:place] + ("A" if character != "A" else "B") + signed[place + 1 :]
        # The last character of base64 has bits nobody reads.
        if place != len(signed) - 1:
            with pytest.raises(InvalidToken):
                read(altered)


def test_claims_cannot_be_exchanged() -> None:
    head, _, signature = token().split(".")
    claims = {**CLAIMS, "exp": int(time.time()) + 60, "is_admin": True}
    with pytest.raises(InvalidToken):
        read(f"{head}.{encoded(claims)}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "RS256"])
def test_the_algorithm_is_not_the_senders_choice(algorithm: str) -> None:
    _, body, signature = token().split(".")
    for last in ("", signature):
        with pytest.raises(InvalidToken):
            read(f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{body}.{last}")
    if algorithm == "HS384":
        with pytest.raises(InvalidToken):
            read(jwt.encode({**CLAIMS, "exp": int(time.time()) + 60}, SECRET, algorithm=algorithm))


def test_it_expires() -> None:
    read(token(lifetime=-LEEWAY + 2))
    with pytest.raises(InvalidToken):
        read(token(lifetime=-LEEWAY - 1))


def test_it_expires_though_it_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.security.internal.LEEWAY", 0)
    signed = token(lifetime=2)
    assert [read(signed), read(signed)] == [PERSON, PERSON]
    time.sleep(2.1)
    with pytest.raises(InvalidToken):
        read(signed)


@pytest.mark.parametrize("claim", ["kind", "iss", "aud", "exp"])
def test_no_claim_may_be_missing(claim: str) -> None:
    read(claimed())
    with pytest.raises(InvalidToken):
        read(claimed(**{claim: None}))


@pytest.mark.parametrize("wrong", ["nobody", "", 5, [], {}, True])
def test_an_id_is_a_uuid(wrong: object) -> None:
    for claim in ("user_id", "tenant_id"):
        with pytest.raises(InvalidToken):
            read(claimed(**{claim: wrong}))


@given(st.text(max_size=60) | st.from_regex(r"[\w-]{0,20}\.[\w-]{0,20}\.[\w-]{0,20}", fullmatch=True))
def test_nothing_else_is_a_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        read(text)
