"""What is wrong in a file is told with its line and column, all of it at once."""

from pathlib import Path

import pytest

from services.billing.catalogue.loader import CatalogueError, inspect, load
from tests.services.billing.catalogue.family import PRICE, family, put

IMAGES = "images_month: null"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"3.00"', '"3.001"', ["pro.yaml:5:15: prices[0].amount: not an amount of EUR: '3.001'"]),
        ('"3.00"', '"-3.00"', ["pro.yaml:5:15: prices[0].amount: a price is more than nothing"]),
        ('"3.00"', '"0.00"', ["pro.yaml:5:15: prices[0].amount: a price is more than nothing"]),
        ('"3.00", currency: EUR', '"0", currency: JPY', ["pro.yaml:5:15: prices[0].amount: a price is more than"]),
        ('"3.00", currency: EUR', '"0.0001", currency: TND', ["pro.yaml:5:15: prices[0].amount: not an amount of TND"]),
        ('"3.00"', "3.00", ['pro.yaml:5:15: prices[0].amount: wanted text: put it in quotes, as in "3.00"']),
        ("EUR", "euro", ["pro.yaml:5:33: prices[0].currency: "]),
        ("month }", "monthly }", ["pro.yaml:5:48: prices[0].interval: wanted 'month' or 'year'; did you mean month?"]),
        ("month }", "month, tax: 0 }", ["pro.yaml:5:55: prices[0].tax: there is no such field"]),
        (PRICE, f"{PRICE}\n  - {PRICE}", ["pro.yaml:4:1: prices: there are two prices in EUR a month"]),
        (f"prices:\n  - {PRICE}", f"price: {PRICE}", ["pro.yaml:4:1: price: there is no such field; did you mean pri"]),
        (f"prices:\n  - {PRICE}", f"prices: {PRICE}", ["pro.yaml:4:1: prices: wanted a list"]),
        ("cpu: 4", "cpu: many", ["pro.yaml:10:8: entitlements.cpu: "]),
        ("cpu: 4", "cpu: true", ["pro.yaml:10:8: entitlements.cpu: "]),
        ("cpu: 4", "cpu: .inf", ["pro.yaml:10:8: entitlements.cpu: "]),
        ("cpu: 4", "cpus: 4", ["pro.yaml:10:3: entitlements.cpus: there is no such entitlement; did you mean cpu?"]),
        ("cpu: 4", "cpu: 4\n  gpu_hours: 4", ["pro.yaml:11:3: entitlements.gpu_hours: there is no such entitlement"]),
        ("  cpu: 4\n", "", ["pro.yaml:6:1: entitlements.cpu: is missing; null is unlimited"]),
        ("  custom_domains: true\n", "", ["pro.yaml:6:1: entitlements.custom_domains: is missing"]),
        ("custom_domains: true", "custom_domains: 1", ["pro.yaml:16:19: entitlements.custom_domains: "]),
        (IMAGES, "images_month: -1", ["pro.yaml:14:17: entitlements.images_month: "]),
        (IMAGES, "images_month: 1.0", ["pro.yaml:14:17: entitlements.images_month: "]),
        (IMAGES, "images_month: 9223372036854775807", ["pro.yaml:14:17: entitlements.images_month: "]),
        (IMAGES, f"{IMAGES}\n  {IMAGES}", ["pro.yaml:15:3: images_month: stands there twice"]),
        (IMAGES, f"{IMAGES}\n  trash_days: -1", ["pro.yaml:15:15: entitlements.trash_days: "]),
        (IMAGES, f"{IMAGES}\n  allowed_types: [image/png, png]", ["pro.yaml:15:30: entitlements.allowed_types[1]: "]),
        (IMAGES, f"{IMAGES}\n  allowed_types: []", ["pro.yaml:15:3: entitlements.allowed_types: "]),
        (
            IMAGES,
            f"{IMAGES}\n  isolation: own",
            ["pro.yaml:15:14: entitlements.isolation: wanted 'shared' or 'schema'"],
        ),
        ("version: 1", "version: 0", ["pro.yaml:2:10: version: "]),
        ("version: 1", "version: 2026-13-45", ["pro.yaml:2:10: version: "]),
        (
            "version: 1",
            "version: one\nversions: 1",
            ["pro.yaml:2:10: version: ", "pro.yaml:3:1: versions: there is no"],
        ),
        ("code: pro", "code: Pro Plan", ["pro.yaml:1:7: code: "]),
        ("code: pro", "code: free", ["pro.yaml:1:7: code: free, but the file is named pro.yaml"]),
        ("name: Pro", "name: Pro\npublic: maybe", ["pro.yaml:4:9: public: "]),
        ("name: Pro", "name: Pro\n  bad: [", ["pro.yaml:4:6: not YAML: mapping values are not allowed here"]),
        ("name: Pro", "name: Pro\x07", ["pro.yaml:3:10: not YAML: a character that cannot be seen"]),
        (
            "name: Pro",
            "name: Pro\ndefault: true",
            [
                "free.yaml:4:10: default: the catalogue needs exactly one",
                "pro.yaml:4:10: default: the catalogue needs e",
            ],
        ),
        (
            "code: pro",
            "name: x\nentitlement: {}\n# ",
            ["pro.yaml:1:1: code: is missing", "pro.yaml:2:1: entitlement: "],
        ),
    ],
)
def test_where_and_what(tmp_path: Path, old: str, new: str, told: list[str]) -> None:
    with pytest.raises(CatalogueError) as raised:
        load(family(tmp_path, put(old, new)))
    found = [str(problem) for problem in raised.value.problems]
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(found[0])
    for text in told:
        assert any(line.startswith(text) for line in found), found
    if not new.startswith("name: x"):
        assert len(found) == len(told), found


def test_all_of_it_at_once(tmp_path: Path) -> None:
    change = put("cpu: 4", "cpus: 4\n  project: 1")
    with pytest.raises(CatalogueError, match=r"\(and 1 more: stowage catalogue check\)"):
        load(family(tmp_path, change))
    family(tmp_path, put("members: 1", "members: -1"), "free")
    (tmp_path / "pro.yaml").write_text(change((tmp_path / "pro.yaml").read_text()))
    assert [(p.file, p.line, p.column) for p in inspect(tmp_path, "EUR")[1]] == [
        ("free.yaml", 7, 12),
        ("pro.yaml", 10, 3),
        ("pro.yaml", 11, 3),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "odd.yaml:1:1: the file is empty"),
        (b"code: odd\nname: \xff", "odd.yaml:2:7: not UTF-8"),
        (b"- 1", "odd.yaml:1:1: plan: wanted names with values"),
        (b"a: [", "odd.yaml:1:5: not YAML: "),
        (b"a: " + b"[" * 5000, "odd.yaml: not YAML: "),
        (b"a: &a [*a]", "odd.yaml:1:1: code: is missing"),
        (b"!!python/object:os.system x", "odd.yaml:1:1: not YAML: could not determine a constructor"),
        (b"1: 2", "odd.yaml:1:1: code: is missing"),
        (b"? [a]\n: b", "odd.yaml:1:3: not YAML: found unhashable key"),
    ],
)
def test_files_that_hold_no_plan(tmp_path: Path, content: bytes, told: str) -> None:
    (family(tmp_path) / "odd.yaml").write_bytes(content)
    with pytest.raises(CatalogueError) as raised:
        load(tmp_path)
    assert str(raised.value.problems[0]).startswith(told)


def test_a_folder_in_place_of_a_file_and_another_ending(tmp_path: Path) -> None:
    (family(tmp_path) / "gold.yaml").mkdir()
    (tmp_path / "gold.yml").write_text("code: gold")
    assert list(map(str, inspect(tmp_path, "EUR")[1])) == [
        "gold.yaml: cannot be read: Is a directory",
        "gold.yml: is not read: its name must end in .yaml",
    ]


def test_nothing_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="exactly one default plan"):
        load(tmp_path)


def test_no_price_in_the_currency_of_the_installation(tmp_path: Path) -> None:
    """It would look free, or could not be bought."""
    with pytest.raises(CatalogueError, match=r"^pro.yaml:4:1: prices: there is none in USD \(CURRENCY\)$"):
        load(family(tmp_path), "USD")
    (tmp_path / "dollar").mkdir()
    given_by_staff = put("name: Pro", "name: Pro\npublic: false")
    assert load(family(tmp_path / "dollar", given_by_staff), "USD").currency == "USD"
