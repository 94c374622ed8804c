"""`stowage demo`: does the main job on a running stack and says what it saw."""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any


def main(args: argparse.Namespace, status: dict[str, Any]) -> int:
    """Exit code 0 when every promise held."""
    return asyncio.run(_run(status, Path(args.folder).resolve()))


async def _run(status: dict[str, Any], folder: Path) -> int:
    import aiohttp
    from rich.console import Console
    from rich.progress import Progress

    from deploy.local.demo.client import DemoFailed, Person
    from deploy.local.demo.steps import Demo

    console = Console(highlight=False, soft_wrap=True)
    start = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=120)
    with Progress(console=console, transient=True) as progress:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            demo = Demo(status, folder, progress, console.print)
            ada, bob = Person(status["url"], session), Person(status["url"], session)
            try:
                await demo.sign_up(ada, bob)
                await demo.upload_folder(ada)
                await demo.measure_usage(ada)
                refused = await demo.fill_up(ada)
                await demo.upgrade(ada, refused)
                await demo.delete(ada, bob)
                await demo.trespass(ada, bob)
                await demo.prove(ada)
                await demo.show_trace(ada)
            except DemoFailed as failed:
                console.print(f"The demo stopped: {failed}", style="bold red")
                return 1
    console.print(f"Everything held, in {time.perf_counter() - start:.1f} s.", style="bold green")
    return 0
