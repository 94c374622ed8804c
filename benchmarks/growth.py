"""How counting grows: with tenants, partitions and consumers. Draws `docs/pictures/growth-*.svg` and writes the figures
into `docs/growth.md`, both of one run.

Every figure is of the same number of records, counted by worker processes as they are deployed. All have joined their
group, and all records wait in Kafka, when the clock starts.
"""

import os
from dataclasses import dataclass

from benchmarks.counting import counting
from benchmarks.drawing import curve
from benchmarks.report import Row, machine
from deploy.local import kafka
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import ROOT

RECORDS = int(os.environ.get("RECORDS", "200000"))
ROUNDS = 2  # the better one is shown: what disturbs one round is not what is measured
TENANTS = (10, 100, 1_000, 10_000, 100_000)
PARTITIONS = (1, 2, 4, 8, 12)
CONSUMERS = (1, 2, 3, 4)
MANY = 1_000  # tenants: enough that no partition has many more of them than another
PAGE, PICTURES = ROOT / "docs" / "growth.md", ROOT / "docs" / "pictures"
BEGIN, END = "<!-- figures: written by `python -m benchmarks growth` -->\n", "<!-- end of figures -->\n"


@dataclass(frozen=True)
class Curve:
    name: str
    across: str
    found: dict[int, float]  # records a second


async def run(pg: PostgresServer) -> list[Row]:
    tenants = {n: max(await _rates(pg, tenants=n)) for n in TENANTS}
    partitions = {n: max(await _rates(pg, tenants=MANY, partitions=n)) for n in PARTITIONS}
    consumers = {n: max(await _rates(pg, tenants=MANY, partitions=12, workers=n)) for n in CONSUMERS}
    curves = [
        Curve("tenants", "tenants, all of them busy", tenants),
        Curve("partitions", "partitions, one consumer", partitions),
        Curve("consumers", "consumers, 12 partitions", consumers),
    ]
    for each in curves:
        (PICTURES / f"growth-{each.name}.svg").write_text(curve(each.across, "records a second", each.found))
    PAGE.write_text(renewed(PAGE.read_text(), figures(curves)))
    return [await _hot(pg)]


def figures(curves: list[Curve]) -> str:
    """As Markdown: when and where it was measured, and every point of every curve."""
    facts = machine()
    broker = "Apache Kafka" if kafka.choose("auto") == "kafka" else "librdkafka's own cluster"
    told = (
        f"Measured on {facts['date']}: {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
        f"{facts['fsync_ms']} ms for a write made safe; {broker}; {RECORDS:,} records a point, "
        f"the better of {ROUNDS} rounds."
    )
    lines = [
        told,
        "",
        "| | | records a second | of the first |",
        "|---|---|---|---|",
    ]
    for each in curves:
        first = next(iter(each.found.values()))
        lines += [
            f"| {each.across} | {number:,} | {speed:,.0f} | {speed / first:.2f} × |"
            for number, speed in each.found.items()
        ]
    return "\n".join(lines) + "\n"


def renewed(page: str, told: str) -> str:
    """The page with `told` between its two marks. Raises ValueError without them."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{told}\n{END}{after}"


async def _hot(pg: PostgresServer) -> Row:
    """In turns, so that both meet the same machine."""
    alone, spread = list[float](), list[float]()
    async with counting(pg, tenants=1) as one, counting(pg, tenants=100) as hundred:
        for _ in range(1 + 2 * ROUNDS):
            spread.append(await hundred.rate(RECORDS))
            alone.append(await one.rate(RECORDS))
    ours, others = max(alone), max(spread)
    return Row(
        "counting for one tenant alone",
        "records/s",
        ours,
        others,
        None,
        f"{ours / others:.2f} × spread over 100 tenants",
        "≥ 0.9 × spread",
        ours >= 0.9 * others,
        "textbook: the same records of 100 tenants; one consumer, 4 partitions, of which one tenant fills one; "
        f"{RECORDS:,} records, the best of {len(alone)} rounds each, in turns",
    )


async def _rates(pg: PostgresServer, *, tenants: int, partitions: int = 4, workers: int = 1) -> list[float]:
    async with counting(pg, tenants=tenants, partitions=partitions, workers=workers) as found:
        rates = [await found.rate(RECORDS) for _ in range(ROUNDS)]
    print(f"{tenants} tenants, {partitions} partitions, {workers} consumers: {rates}", flush=True)
    return rates
