"""`python -m benchmarks [NAME …]`: ours, the textbook way and the raw limit, side by side in one run."""

import argparse
import asyncio
import importlib
import logging
import sys
import time

from benchmarks import servers
from benchmarks.report import Row, machine, save, show

NAMES = (
    *("relay", "consumer", "quota", "terms", "upload", "latency", "startup"),
    *("put", "tus", "stores", "listing", "thumbnail", "export", "rebuild", "stats", "growth"),
    *("credits", "callbacks", "invoices"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"of: {', '.join(NAMES)}")
    wanted = parser.parse_args().names or list(NAMES)
    logging.disable(logging.ERROR)
    begun, facts, rows = time.monotonic(), machine(), list[Row]()
    print(" · ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    with servers.postgres() as pg:
        for name in wanted:
            started = time.monotonic()
            module = importlib.import_module(f"benchmarks.{name}")
            found: list[Row] = asyncio.run(module.run(pg))
            rows += found
            for row in found:
                print(f"{row.path}: {row.ratio}, must reach {row.target}", end="", flush=True)
                print(f"{'' if row.met else '  MISSED'}  ({time.monotonic() - started:.0f} s)", flush=True)
    print("\n" + show(rows))
    if len(wanted) == len(NAMES):
        print(f"\nkept in {save(rows, facts, time.monotonic() - begun).parent.name}/")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
