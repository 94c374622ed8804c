"""Who sells and who buys, as it stands on an invoice."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, StringConstraints, model_validator
from stdnum.util import get_cc_module

LANGUAGES = ("en", "fr", "es", "de", "pt", "nl", "pl", "zh", "hi", "th", "tr", "vi", "ja", "id", "it", "ar")


def printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of printable characters")
    return text


_TRIMMED = StringConstraints(strip_whitespace=True, min_length=1, max_length=200)
Line = Annotated[str, _TRIMMED, AfterValidator(printable)]


class Party(BaseModel):
    """`country` is ISO 3166, two capitals. A VAT id is checked as its country writes them, not asked for anywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line
    street: Line | None = None
    postal_code: Annotated[Line, Field(max_length=20)] | None = None
    city: Line | None = None
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    vat_id: Annotated[str, Field(max_length=32)] | None = None
    email: EmailStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _reads_vat_id(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("vat_id"):
            return given
        return {**given, "vat_id": read_vat_id(given.get("country"), str(given["vat_id"]))}


class Seller(Party):
    """`code` names the series of numbers: another one begins at 1. `registration` is of the company's register."""

    code: str = Field(default="main", pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    country: str = Field(pattern=r"^[A-Z]{2}$")
    registration: Line | None = None


class Buyer(Party):
    """A team as a buyer, with the language its invoices are in."""

    language: str = "en"

    @model_validator(mode="after")
    def _in_a_language_of_ours(self) -> Self:
        if self.language not in LANGUAGES:
            raise ValueError(f"languages are {', '.join(LANGUAGES)}")
        return self


def read_vat_id(country: str | None, text: str) -> str:
    """As it is written on an invoice, with the country's letters in front. Raises ValueError."""
    if country is None:
        raise ValueError("a VAT id needs the country it is of")
    prefix = "EL" if country == "GR" else country
    module = get_cc_module(country.lower(), "vat")
    compact = "".join(part for part in text.upper() if part.isalnum())
    if module is None or not compact.isascii():
        raise ValueError(f"no VAT id of {country} is known to look like that")
    own = compact.removeprefix(prefix)
    if not (module.is_valid(own) or module.is_valid(compact)):
        raise ValueError(f"not a VAT id of {country}")
    return prefix + own


def language_of(locale: str) -> str:
    """Of `pt-BR` or `zh_Hant`; English where the language is none of ours."""
    found = locale.replace("_", "-").split("-", maxsplit=1)[0].lower()
    return found if found in LANGUAGES else "en"
