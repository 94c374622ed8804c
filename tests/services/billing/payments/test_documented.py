"""What docs/billing.md tells a provider's author to type, typed."""

import asyncio
import json
import os
import re

from tests.fixtures.stack import ROOT
from tests.services.billing.world import KEY, Team, World, told


async def test_the_signing_example_works(world: World) -> None:
    text = (ROOT / "docs" / "billing.md").read_text()
    script = next(block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "webhook-signature" in block)
    team = Team()
    payment = await world.started(team)
    environment = {**os.environ, "SECRET": KEY, "URL": f"{world.door.url}/api/payments/callback"}
    body = json.dumps(told(payment, description="é %s \\ 'quoted'"), ensure_ascii=False)
    for given, expected in (({"BODY": body}, "202"), ({"BODY": body, "SECRET": "whsec_" + "A" * 44}, "401")):
        process = await asyncio.create_subprocess_exec(
            *("sh", "-euc", script),
            env={**environment, **given},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert (out.decode().strip(), err.decode()) == (expected, "")
    await world.until(team, payment, lambda p: p["status"] == "completed")
