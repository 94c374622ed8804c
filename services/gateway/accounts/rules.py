"""What an account must look like. Pure."""

import re
import unicodedata

import email_validator
from email_validator import EmailNotValidError, validate_email

from services.gateway.errors import EmailInvalid, NameInvalid, PasswordInvalid

# Whether mail arrives is seen when it is sent; `.local` and `.test` have mail servers in somebody's own network.
# (Emptying this list is the library's documented way to say so.)
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

PASSWORD_MIN = 10
PASSWORD_MAX = 128  # characters; argon2 takes more, but nobody should make the server hash a book
NAME_MAX = 120

# What the published lists of leaked passwords begin with, as far as it reaches ten characters.
_COMMON = frozenset(
    """
    1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qaz1qaz1qaz q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedcrfv zaq12wsxcde3 qwertyuiop
    asdfghjkl; abcdefghij abcdefghijk passwordpassword adminadmin trustno1trustno1 changemenow
    """.split()  # noqa: SIM905 - one word a line would hide the rest of the file
)

# With digits and signs behind them they make most of the rest: "Welcome2026!".
_COMMON_STEMS = frozenset(
    """
    password passw0rd p@ssword p@ssw0rd qwerty qwertyuiop asdfghjkl zxcvbnm iloveyou letmein welcome admin administrator
    changeme princess sunshine football baseball superman monkey dragon trustno shadow master michael abc abcd a secret
    """.split()  # noqa: SIM905 - as above
)
_STEM_END = "0123456789!?.,@#$%&*-_+"

_LOCALE = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")


def normalise_email(text: str) -> str:
    """The one spelling an address is stored and looked up by. Raises EmailInvalid."""
    try:
        found = validate_email(text.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise EmailInvalid(str(error)) from None
    return found.normalized.lower()


def check_password(password: str, *, email: str) -> None:
    """Raises PasswordInvalid with the reason."""
    if len(password) < PASSWORD_MIN:
        raise PasswordInvalid(f"A password has at least {PASSWORD_MIN} characters.")
    if len(password) > PASSWORD_MAX:
        raise PasswordInvalid(f"A password has at most {PASSWORD_MAX} characters.")
    plain = password.casefold().strip()
    if plain in _COMMON or plain.rstrip(_STEM_END) in _COMMON_STEMS or len(set(plain)) <= 2 or plain.isdigit():
        raise PasswordInvalid("This password is among the first anybody would try.")
    if plain in (email, email.partition("@")[0]):
        raise PasswordInvalid("A password is not the e-mail address.")


def normalise_name(text: str) -> str:
    """Without control characters and doubled spaces. Raises NameInvalid."""
    name = " ".join("".join(c for c in text if unicodedata.category(c)[0] != "C" or c in "\t\n").split())
    if not name or len(name) > NAME_MAX:
        raise NameInvalid(f"A name has 1 to {NAME_MAX} characters.")
    return name


def normalise_locale(text: str | None) -> str:
    """A language tag as pages and mails use it; "en" where none is given or it makes no sense."""
    return text if text is not None and _LOCALE.match(text) else "en"
