"""Capsules hear that the kernel ends, and cannot keep it from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.kernel import farewell
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.buses import Envelope
from tests.support.capsules import answering, install, manifest, write_capsule
from tests.support.guests import publishing

HEARS = """
[publish]
"last.words" = { wit = "opaque" }
[subscribe]
"astrid.v1.lifecycle.kernel_shutdown" = { wit = "opaque", handler = "bye" }
"""


def opened(home: Path, source: Source, work: Callable[[Kernel], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            await install(kernel, source)
            await work(kernel)

    asyncio.run(main())


def test_capsules_hear_that_the_kernel_ends_and_can_still_act(tmp_path: Path) -> None:
    said: list[Envelope] = []

    async def work(kernel: Kernel) -> None:
        kernel._parts.bus.add_listener("last.words", said.append)
        await asyncio.sleep(0)
        assert said == []

    guest = publishing("last.words", '{"said": "goodbye"}')
    opened(
        tmp_path / "home",
        write_capsule(tmp_path / "c", guest, manifest("c", body=HEARS)),
        work,
    )
    assert [envelope.source_id is not None for envelope in said] == [True]


@pytest.mark.slow
def test_a_capsule_that_never_answers_does_not_hold_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "FAREWELL_S", 0.05)

    async def work(_: Kernel) -> None:
        pass

    guest = answering("continue", body="(loop $again (br $again))")
    opened(
        tmp_path / "home",
        write_capsule(tmp_path / "c", guest, manifest("c", body=HEARS)),
        work,
    )
