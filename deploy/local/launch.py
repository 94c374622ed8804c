"""Starts a module early and lets it go late: imports take a second, and the database may not be there yet.

`python -m deploy.local.launch services.upload.main` imports, waits for a line on standard input (a JSON object of
environment variables that were not known before), then runs it.
"""

import importlib
import json
import os
import runpy
import sys


def main() -> None:
    module = sys.argv[1]
    importlib.import_module(module)
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)  # whoever started this is gone
    os.environ.update(json.loads(line))
    sys.argv = [module]
    sys.modules.pop(module)
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
