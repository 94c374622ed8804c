"""What was measured, as a table for people and a file for comparisons."""

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One path: ours, the way a textbook shows it, and the raw limit of the parts below, all in `unit`."""

    path: str
    unit: str
    ours: float
    textbook: float | None
    raw: float | None
    ratio: str
    target: str
    met: bool
    note: str = ""


def machine() -> dict[str, object]:
    """Facts that figures depend on. `fsync_ms`: a 4 KiB write made safe, the median of 50."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync_ms": round(statistics.median(_fsyncs(50)) * 1000, 2),
    }


@dataclass(frozen=True)
class Kept:
    """A row of the benchmark `name`, as it was last measured, and on what."""

    name: str
    machine: dict[str, object]
    row: Row

    @property
    def date(self) -> str:
        return str(self.machine["date"])


def show(rows: Sequence[Row], dates: Sequence[str] = ()) -> str:
    """A Markdown table, with the date of each row if there are any."""
    columns = ["path", "unit", "ours", "textbook", "raw limit", "ratio", "must reach", "met"]
    lines = [_cells(row) for row in rows]
    if dates:
        columns.append("measured")
        lines = [[*cells, date] for cells, date in zip(lines, dates, strict=True)]
    table = [columns, ["---"] * len(columns), *lines]
    notes = [f"- {row.path}: {row.note}" for row in rows if row.note]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in table), "", *notes])


def keep(name: str, rows: Sequence[Row], facts: dict[str, object], order: Sequence[str]) -> None:
    """Puts `rows` in place of what is kept of the benchmark `name`; `order` is that of all benchmarks."""
    found = [each for each in kept() if each.name != name] + [Kept(name, facts, row) for row in rows]
    found.sort(key=lambda each: order.index(each.name))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    (RESULTS / "latest.md").write_text(page(found))


def kept() -> list[Kept]:
    """The last results of every benchmark that has any."""
    file = RESULTS / "latest.json"
    found = json.loads(file.read_text()) if file.exists() else []
    return [Kept(each["name"], each["machine"], Row(**each["row"])) for each in found]


def page(found: Sequence[Kept]) -> str:
    """For people: every row with its date, and below the machine of each date."""
    table = show([each.row for each in found], [each.date for each in found])
    machines = dict.fromkeys(" · ".join(f"{key} {value}" for key, value in each.machine.items()) for each in found)
    told = "\n".join(f"- {facts}" for facts in machines)
    return f"# Benchmarks\n\n{table}\n\nMeasured on:\n\n{told}\n"


def percentile(values: Sequence[float], part: float) -> float:
    """`part` of 0 to 1, by rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]


def _cells(row: Row) -> list[str]:
    figures = [_number(figure) for figure in (row.ours, row.textbook, row.raw)]
    return [row.path, row.unit, *figures, row.ratio, row.target, "yes" if row.met else "**no**"]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _fsyncs(times: int) -> list[float]:
    file = Path(__file__).parent / ".fsync"
    taken = []
    with file.open("wb") as out:
        for _ in range(times):
            begun = time.perf_counter()
            out.write(bytes(4096))
            out.flush()
            os.fsync(out.fileno())
            taken.append(time.perf_counter() - begun)
    file.unlink()
    return taken
