"""The heartbeat example, built, installed and compiled once for all the tests that want it.

Building takes a quarter of a minute and compiling as long, so the processes of a test run share
one result: the first who asks makes it, the others wait and take a copy.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from astrid_core import Kernel
from astrid_sdk_host.builder import PythonCapsuleBuilder
from astrid_sdk_host.cache import BuildCache
from tests.support.capsules import EXAMPLES, install

SOURCE: Final = EXAMPLES / "heartbeat"


@dataclass(frozen=True)
class Heartbeat:
    """One build, how it went, and a home that has it.

    Attributes:
        directory: What the builder staged.
        from_cache: What the builder said about it.
        steps: Each step that it announced, with the fraction done.
        cache: The build cache that it filled.
        home: The home of a kernel that installed and compiled it; nobody has it open. A copy of
            the caller's own.
    """

    directory: Path
    from_cache: bool
    steps: list[tuple[str, float | None]]
    cache: Path
    home: Path

    @property
    def component(self) -> Path:
        return self.directory / "heartbeat.wasm"


def heartbeat(factory: pytest.TempPathFactory) -> Heartbeat:
    """The one build; for a fixture of a whole module."""
    with once(factory, "heartbeat") as (base, is_first):
        if is_first:
            _make(base)
    record = json.loads((base / "record.json").read_text())
    home = factory.mktemp("heartbeat") / "home"
    shutil.copytree(base / "home", home, symlinks=True)
    steps = [(step, fraction) for step, fraction in record["steps"]]
    return Heartbeat(base / "staging", record["from_cache"], steps, base / "cache", home)


@contextmanager
def once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A directory that all processes of a test run share, and whether it is still to be filled.

    The others wait until the block ends; when it fails, the next one tries.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    made = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = base / f"{name}.done"
        if done.exists():
            yield made, False
            return
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        yield made, True
        done.touch()


def _make(base: Path) -> None:
    steps: list[tuple[str, float | None]] = []
    builder = PythonCapsuleBuilder(cache=BuildCache(base / "cache"))
    result = builder.build(
        SOURCE, base / "staging", progress=lambda step, fraction: steps.append((step, fraction))
    )

    async def main() -> None:
        async with Kernel.open(home=base / "home") as kernel:
            await install(kernel, result.directory)
            (capsule,) = kernel.capsules()
            assert not capsule.answers_hooks(), "a run loop answers through its own subscriptions"
            assert kernel.read_state("heartbeat", "installed") is not None

    asyncio.run(main())
    record = {"steps": steps, "from_cache": result.from_cache}
    (base / "record.json").write_text(json.dumps(record))
