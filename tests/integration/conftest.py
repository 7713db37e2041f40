"""Fixtures of the in-process tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run a coroutine function on a kernel with a home of its own."""

    def runner(
        work: Callable[[Kernel], Coroutine[Any, Any, object]], *, plugins: Any = ()
    ) -> object:
        async def main() -> object:
            async with Kernel.open(home=tmp_path / "home", plugins=plugins) as kernel:
                return await work(kernel)

        return asyncio.run(main())

    return runner
