"""Opens the kernel of a home, says so, and waits for the end of its input."""

from __future__ import annotations

import asyncio
import sys

from astrid_core import Kernel


async def main() -> None:
    """Serve nobody."""
    async with Kernel.open(home=sys.argv[1]) as kernel:
        sys.stdout.write(f"{len(kernel.capsules())}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
