"""Guests that use too much, through the whole kernel; nobody else notices."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.errors import (
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
    PolicyDeniedError,
    QuotaExceededError,
    ToolError,
)
from tests.support.capsules import install, manifest, write_capsule
from tests.support.guests import refusing_acts

Run = Callable[..., Any]

HANDLERS = ("bomb", "echo", "loop", "put", "read", "trap")
ACTS = "[subscribe]\n" + "".join(
    f'"tool.v1.execute.{name}" = {{ wit = "opaque", handler = "{name}" }}\n' for name in HANDLERS
)


async def ask(kernel: Kernel, name: str, *, principal: str) -> str:
    """What the guest answered; it answers with a refusal, so that the data is seen."""
    with pytest.raises(PolicyDeniedError) as caught:
        await kernel.call_tool(name, principal=principal)
    return caught.value.message.partition(" was refused: ")[2]


def acts(directory: Path) -> Any:
    return write_capsule(directory, refusing_acts(), manifest("acts", body=ACTS))


def limit_memory(home: Path, principal: str, mib: int) -> None:
    (home / "etc" / "profiles" / f"{principal}.toml").write_text(
        f"[quotas]\nmax_memory_bytes = {mib * 1024 * 1024}\n"
    )


def test_a_memory_bomb_ends_at_the_limit_of_its_principal_and_others_go_on(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, acts(tmp_path / "acts"))
        limit_memory(tmp_path / "home", "alice", 8)
        kept = await ask(kernel, "put", principal="bob")

        async def explode() -> None:
            for _ in range(5):
                with pytest.raises(GuestLimitError) as caught:
                    await kernel.call_tool("bomb", principal="alice")
                assert "8 MiB" in str(caught.value.hint)

        async def go_on() -> None:
            for _ in range(20):
                assert await ask(kernel, "read", principal="bob") == kept[:64]

        await asyncio.gather(explode(), go_on())
        (capsule,) = kernel.capsules()
        stats = capsule.stats()
        assert (stats["limits"], stats["traps"], stats["instances"]) == (5, 0, 1)
        assert "tool_execute_request" in await ask(kernel, "echo", principal="alice")
        assert capsule.stats()["instances"] == 2
        assert capsule.health().ok

    run(work)


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_200_stopped_calls_leave_the_kernels_memory_flat(run: Run, tmp_path: Path) -> None:
    """Traps, bombs and cancelled loops; each is followed by a call that works."""

    async def cycle(kernel: Kernel, number: int) -> None:
        if number % 20 == 0:
            with pytest.raises(ToolError):
                await kernel.call_tool("loop", principal="alice", timeout_s=0.01)
        elif number % 5 == 0:
            with pytest.raises(GuestLimitError):
                await kernel.call_tool("bomb", principal="alice")
        else:
            with pytest.raises(GuestTrapError):
                await kernel.call_tool("trap", {"x": "y" * 1000}, principal="alice")
        assert "tool_execute_request" in await ask(kernel, "echo", principal="alice")

    async def work(kernel: Kernel) -> None:
        await install(kernel, acts(tmp_path / "acts"))
        limit_memory(tmp_path / "home", "alice", 4)
        for number in range(60):
            await cycle(kernel, number)
        before = resident_bytes()
        for number in range(200):
            await cycle(kernel, number)
        assert resident_bytes() - before < 2 * 1024 * 1024
        (capsule,) = kernel.capsules()
        assert capsule.stats()["instances"] == 1

    run(work)


@pytest.mark.slow
def test_processor_time_is_used_up_by_its_principal_alone_and_comes_back(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, acts(tmp_path / "acts"))
        (tmp_path / "home" / "etc" / "profiles" / "alice.toml").write_text(
            "[quotas]\nmax_timeout_secs = 1\nmax_cpu_secs_per_minute = 1\n"
        )
        for _ in range(40):  # on a busy machine a second of waiting is little processor time
            with pytest.raises((GuestTimeoutError, QuotaExceededError)) as caught:
                await kernel.call_tool("loop", principal="alice")
            if isinstance(caught.value, QuotaExceededError):
                break
        assert isinstance(caught.value, QuotaExceededError)
        assert caught.value.rule == "max_cpu_secs_per_minute"
        assert await ask(kernel, "echo", principal="bob")
        raised = tmp_path / "home" / "etc" / "profiles" / "alice.toml"
        raised.write_text("[quotas]\nmax_cpu_secs_per_minute = 600\n")
        assert await ask(kernel, "echo", principal="alice")

    run(work)
    refused = [
        row
        for row in entries(
            AuditPlaces(tmp_path / "home" / "var" / "audit"), Query(principal="alice")
        )
        if row["outcome"] == "denied"
    ]
    assert refused
