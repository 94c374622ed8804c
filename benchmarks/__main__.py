"""`python -m benchmarks [NAME …]`: ours, the textbook way and the raw limit, side by side in one run.

What was measured replaces what is kept of the same benchmarks in `benchmarks/results`; the others stay as they are.
"""

import argparse
import asyncio
import importlib
import logging
import sys
import time

from benchmarks import servers
from benchmarks.report import Row, keep, machine, show

NAMES = (
    *("relay", "consumer", "quota", "terms", "upload", "latency", "startup"),
    *("put", "tus", "stores", "listing", "thumbnail", "export", "rebuild", "stats", "check", "growth"),
    *("credits", "callbacks", "invoices"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--dry-run", action="store_true", help="keep no results")
    told = parser.parse_args()
    logging.disable(logging.ERROR)
    facts, rows = machine(), list[Row]()
    print(" · ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    with servers.postgres() as pg:
        for name in told.names or NAMES:
            started = time.monotonic()
            module = importlib.import_module(f"benchmarks.{name}")
            found: list[Row] = asyncio.run(module.run(pg))
            rows += found
            for row in found:
                print(f"{row.path}: {row.ratio}, must reach {row.target}", end="", flush=True)
                print(f"{'' if row.met else '  MISSED'}  ({time.monotonic() - started:.0f} s)", flush=True)
            if not told.dry_run:
                keep(name, found, facts, NAMES)  # at once: the next one may fail
    print("\n" + show(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
