"""What an account must look like. Pure."""

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from services.gateway.errors import EmailInvalid, NameInvalid, PasswordInvalid

PASSWORD_MIN = 10
PASSWORD_MAX = 128  # characters; argon2 takes more, but nobody should make the server hash a book
NAME_MAX = 120

# The heads of published lists of leaked passwords, as far as ten characters and more; shorter ones fall by their length.
_COMMON = frozenset(
    """
    1234567890 12345678910 123456789a 0123456789 0987654321 9876543210 1111111111 0000000000 1q2w3e4r5t 1qaz2wsx3edc
    qwertyuiop qwerty12345 qwerty1234 qwerty123456 qwertyuiop123 asdfghjkl1 asdfghjkl; zxcvbnm123 zaq12wsxcde3
    password12 password123 password1234 password12345 passwordpassword passw0rd123 p@ssw0rd123 password!1 password2024
    password2025 password2026 iloveyou123 iloveyou12 iloveyou1234 letmein123 letmein1234 welcome123 welcome1234
    welcome2024 welcome2025 welcome2026 administrator admin12345 admin123456 adminadmin changeme123 changemenow
    princess123 sunshine123 football123 baseball123 superman123 abcdefghij abcdefghijk abc1234567 abcd123456 a123456789
    1qaz1qaz1qaz q1w2e3r4t5 q1w2e3r4t5y6 1q2w3e4r5t6y monkey12345 dragon12345 trustno1trustno1 qazwsxedcrfv 11223344556
    """.split()
)

_LOCALE = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")


def normalise_email(text: str) -> str:
    """The one spelling an address is stored and looked up by. Raises EmailInvalid."""
    try:
        # Whether mail arrives is seen when it is sent; addresses of a private network are addresses too.
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
    if plain in _COMMON or len(set(plain)) <= 2:
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
