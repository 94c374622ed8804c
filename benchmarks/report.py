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


def show(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| path | unit | ours | textbook | raw limit | ratio | must reach | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.path} | {row.unit} | {_number(row.ours)} | {_number(row.textbook)} | {_number(row.raw)} "
        f"| {row.ratio} | {row.target} | {'yes' if row.met else '**no**'} |"
        for row in rows
    ]
    notes = [f"- {row.path}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes])


def save(rows: Sequence[Row], facts: dict[str, object], seconds: float) -> Path:
    """`results/<date>.json` for programs, `results/latest.md` for people."""
    RESULTS.mkdir(exist_ok=True)
    told = " · ".join(f"{name} {value}" for name, value in facts.items())
    (RESULTS / "latest.md").write_text(f"# Benchmarks\n\n{told} · took {seconds:.0f} s\n\n{show(rows)}\n")
    file = RESULTS / f"{facts['date']}.json"
    file.write_text(json.dumps({"machine": facts, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    return file


def percentile(values: Sequence[float], part: float) -> float:
    """`part` of 0 to 1, by rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]


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
