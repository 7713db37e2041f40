"""A process that runs a kernel until it is killed: `python -m tests.support.doomed_kernel`.

Arguments: `busy` or `upgrading`, the home, a directory with capsule directories. Prints one JSON
object when it is in the middle of it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.capsules import eventually, install, install_example

INGESTED = Envelope(
    "notes.v1.ingested", b"{}", principal=DEFAULT_PRINCIPAL, attribution=Attribution.VERIFIED
)


def say() -> None:
    """Tell the parent that it may kill us, and which processes have to go with us."""
    threads = Path("/proc/self/task").glob("*/children")
    children = [int(pid) for thread in threads for pid in thread.read_text().split()]
    sys.stdout.write(json.dumps({"children": children}) + "\n")
    sys.stdout.flush()


async def busy(kernel: Kernel, sources: Path) -> None:
    """State written, a run loop running, a call computing, a capsule unpacked for installation."""
    await install_example(kernel, "tally")
    for _ in range(3):
        kernel.publish(INGESTED)
    await eventually(lambda: kernel.read_state("tally", "count") == b"3")
    await install_example(kernel, "spinner")
    await install(kernel, Source(sources / "loop", "directory"))
    spinning = asyncio.create_task(kernel.call_tool("spin"))
    (spinner,) = [capsule for capsule in kernel.capsules() if capsule.id == "spinner"]
    await eventually(lambda: spinner.stats()["active"] == 1)
    with kernel.stage(Source(sources / "half", "directory")):
        say()
        await spinning


async def upgrading(kernel: Kernel, sources: Path) -> None:
    """One version after the other, without a pause."""
    for number in itertools.count():
        await install(kernel, Source(sources / ("2.0.0" if number % 2 else "1.0.0"), "directory"))
        if number == 1:
            say()


async def main(what: str, home: str, sources: str) -> None:
    """Run until killed."""
    async with Kernel.open(home=home) as kernel:
        await {"busy": busy, "upgrading": upgrading}[what](kernel, Path(sources))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
