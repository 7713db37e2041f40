"""Every tool call is on record before the tool runs, whoever asks for it and however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, Row, entries
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import AuditError, CapabilityDeniedError, GuestTimeoutError
from astrid_hookspecs.values import Principal
from tests.support.capsules import (
    answering,
    eventually,
    install,
    install_example,
    manifest,
    tool,
    write_capsule,
)
from tests.support.daemon import install_tools
from tests.support.guests import engine_guest

Run = Callable[..., Any]
ALICE = Principal("alice")


def recorded(tmp_path: Path, **query: str) -> list[Row]:
    return [*entries(AuditPlaces(tmp_path / "home/var/audit"), Query(**query))]


def calls(tmp_path: Path) -> list[tuple[str, str, str, str]]:
    return [
        (row["principal"], row["action"]["capsule_id"], row["action"]["tool"], row["outcome"])
        for row in recorded(tmp_path, action="capsule_tool_call")
    ]


def test_a_call_is_recorded_with_a_hash_of_its_arguments(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install_tools(kernel)
        await kernel.call_tool("echo", {"text": "secret"}, principal="alice")
        await kernel.call_tool("echo.echo", {"text": "secret"}, principal="alice")

    run(work)
    assert calls(tmp_path) == [("alice", "echo", "echo", "allowed")] * 2
    rows = recorded(tmp_path, action="capsule_tool_call")
    assert {row["action"]["args_hash"] for row in rows} == {
        blake3(b'{"text":"secret"}').hexdigest()
    }
    log = b"".join(p.read_bytes() for p in (tmp_path / "home/var/audit").rglob("*") if p.is_file())
    assert b"secret" not in log


@pytest.mark.slow
def test_a_call_that_ends_badly_is_recorded_all_the_same(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        profile = tmp_path / "home/etc/profiles/alice.toml"
        profile.write_text("[quotas]\nmax_timeout_secs = 1\n")
        with pytest.raises(GuestTimeoutError):
            await kernel.call_tool("spin", principal="alice")

    run(work)
    assert calls(tmp_path) == [("alice", "spinner", "spin", "allowed")]


def test_a_call_that_was_refused_is_recorded_as_that(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install_tools(kernel)
        (tmp_path / "home/etc/profiles/alice.toml").write_text("enabled = false\n")
        with pytest.raises(CapabilityDeniedError):
            await kernel.call_tool("echo", {"text": "x"}, principal="alice")

    run(work)
    assert calls(tmp_path) == []
    (row,) = recorded(tmp_path, action="capsule.invoke")
    assert (row["principal"], row["outcome"]) == ("alice", "denied")


def test_what_cannot_be_recorded_does_not_run(run: Run) -> None:
    async def work(kernel: Kernel) -> None:
        await install_tools(kernel)
        kernel.audit.close()  # type: ignore[attr-defined]  # as a full disk would
        with pytest.raises(AuditError):
            await kernel.call_tool("echo", {"text": "x"})
        (echo,) = [capsule for capsule in kernel.capsules() if capsule.id == "echo"]
        assert echo.stats()["calls"] == 0

    run(work)


def test_a_call_that_came_over_the_bus_is_recorded(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install_tools(kernel)
        kernel.publish(
            Envelope(
                "tool.v1.execute.echo",
                b'{"type":"tool_execute_request","call_id":"1","tool_name":"echo",'
                b'"arguments":{"text":"x"}}',
                "tool_execute_request",
                principal=ALICE,
                attribution=Attribution.VERIFIED,
            )
        )
        await eventually(lambda: calls(tmp_path) == [("alice", "echo", "echo", "allowed")])

    run(work)


def test_only_the_tool_is_recorded_and_not_who_watches_it(run: Run, tmp_path: Path) -> None:
    guard = (
        '[subscribe]\n"tool.v1.execute.*" = { wit = "opaque", handler = "watch", priority = 1 }\n'
    )

    async def work(kernel: Kernel) -> None:
        await install_tools(kernel)
        source = write_capsule(
            tmp_path / "guard", answering("continue"), manifest("guard", body=guard)
        )
        await install(kernel, source)
        await kernel.call_tool("echo", {"text": "x"})

    run(work)
    assert calls(tmp_path) == [("default", "echo", "echo", "allowed")]


@pytest.mark.slow
def test_a_message_to_a_run_loop_is_recorded(run: Run, tmp_path: Path) -> None:
    body = tool("orders") + '"orders.*" = { wit = "opaque" }\n'

    async def work(kernel: Kernel) -> None:
        source = write_capsule(
            tmp_path / "loop", engine_guest("run_recv.wat"), manifest("loop", body=body)
        )
        await install(kernel, source)
        call = asyncio.create_task(kernel.call_tool("orders", {}, timeout_s=5))
        await eventually(lambda: calls(tmp_path) == [("default", "loop", "orders", "allowed")])
        call.cancel()
        kernel.audit.close()  # type: ignore[attr-defined]
        with pytest.raises(AuditError):
            await kernel.call_tool("orders")

    run(work)
