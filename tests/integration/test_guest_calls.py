"""Reference vectors about guests, through the whole kernel: real components, store, bus and gate.

Spec: capsules-and-bus 12.6, host-abi 21.8.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import (
    CapabilityDeniedError,
    CapsuleNotFoundError,
    ComponentError,
    EngineError,
    GuestTrapError,
    PolicyDeniedError,
    ToolError,
)
from astrid_hookspecs.values import Principal
from tests.support.capsules import answering, eventually, install, manifest, tool, write_capsule
from tests.support.engines import SiblingEngine, choose_sibling
from tests.support.guests import engine_guest, writing_state

Run = Callable[..., Any]

SERVER = '[[mcp_server]]\nid = "helper"\ntype = "stdio"\ncommand = "helper"\n'
ORDERS = '"orders.*" = { wit = "opaque" }\n'
RECEIVE_ONCE = ("(br_if $again (i32.eqz (i32.load8_u (i32.const 256))))", "")
RECEIVE_AND_TRAP = ("(br_if $again (i32.eqz (i32.load8_u (i32.const 256))))", "unreachable")


@pytest.fixture(autouse=True)
def sibling_is_chosen(tmp_path: Path) -> None:
    choose_sibling(tmp_path / "home")


def event(topic: str) -> Envelope:
    return Envelope(topic, b"{}", principal=Principal("default"), attribution=Attribution.VERIFIED)


def only(kernel: Kernel) -> Loaded:
    (capsule,) = kernel.capsules()
    return capsule


@pytest.mark.slow
def test_117_the_sibling_of_a_run_loop_answers_interceptor_calls(run: Run, tmp_path: Path) -> None:
    sibling = SiblingEngine()

    async def work(kernel: Kernel) -> None:
        body = SERVER + tool("ask") + ORDERS
        await install(
            kernel,
            write_capsule(tmp_path / "c", engine_guest("run_recv.wat"), manifest("c", body=body)),
        )
        assert only(kernel).parts[0].is_run_loop()
        with pytest.raises(PolicyDeniedError, match="says the sibling"):
            await kernel.call_tool("ask")
        assert sibling.asked == ["tool_execute_ask"]

    run(work, plugins={"sibling": sibling})
    assert sibling.stopped == 1


def test_118_a_component_without_the_hook_answers_an_error_and_its_sibling_is_not_asked(
    run: Run, tmp_path: Path
) -> None:
    sibling = SiblingEngine()

    async def work(kernel: Kernel) -> None:
        component = bytes(wasmtime.wat2wasm("(component)"))
        await install(
            kernel,
            write_capsule(tmp_path / "c", component, manifest("c", body=SERVER + tool("ask"))),
        )
        with pytest.raises(EngineError) as caught:
            await kernel.call_tool("ask")
        assert caught.value.code == "engine.no-hook"
        assert sibling.asked == []

    run(work, plugins={"sibling": sibling})


def test_121_65_handlers_are_too_many_for_a_run_loop_only(run: Run, tmp_path: Path) -> None:
    handlers = "[subscribe]\n" + "".join(
        f'"orders.n{n}" = {{ wit = "opaque", handler = "act" }}\n' for n in range(65)
    )

    async def work(kernel: Kernel) -> None:
        loop = write_capsule(
            tmp_path / "loop",
            engine_guest("run_recv.wat"),
            manifest("loop", version="2.0.0", body=handlers + ORDERS),
        )
        with pytest.raises(ComponentError, match="at most 64"):
            await install(kernel, loop)
        assert kernel.capsules() == []
        with pytest.raises(CapsuleNotFoundError):
            await kernel.reload("loop")
        small = write_capsule(tmp_path / "small", answering("continue"), manifest("loop"))
        await install(kernel, small)
        with pytest.raises(ComponentError, match="at most 64"):
            await install(kernel, loop)
        await kernel.reload("loop")
        assert [capsule.spec.version for capsule in kernel.capsules()] == ["1.0.0"]
        plain = write_capsule(
            tmp_path / "plain", answering("continue"), manifest("plain", body=handlers)
        )
        await install(kernel, plain)
        kernel.publish(event("orders.n64"))
        (capsule,) = [capsule for capsule in kernel.capsules() if capsule.id == "plain"]
        await eventually(lambda: capsule.stats()["calls"] == 1)

    run(work)


@pytest.mark.parametrize("groups", ['["admin"]', "[]"], ids=["122-137-admin", "137"])
def test_a_disabled_principal_denied_whatever_its_groups(
    run: Run, tmp_path: Path, groups: str
) -> None:
    async def work(kernel: Kernel) -> None:
        source = write_capsule(
            tmp_path / "c", answering("deny", "entered"), manifest("c", body=tool("ask"))
        )
        await install(kernel, source)
        profile = tmp_path / "home" / "etc" / "profiles" / "bob.toml"
        profile.write_text(f"enabled = false\ngroups = {groups}\n")
        with pytest.raises(CapabilityDeniedError) as caught:
            await kernel.call_tool("ask", principal="bob")
        assert caught.value.rule == "profile.enabled"
        assert only(kernel).stats()["calls"] == 0
        with pytest.raises(PolicyDeniedError, match="entered"):
            await kernel.call_tool("ask", principal="alice")

    run(work)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        pytest.param(RECEIVE_ONCE, "run loop exited", id="130"),
        pytest.param(RECEIVE_AND_TRAP, "unreachable", id="130-trap"),
    ],
)
def test_a_run_loop_that_ends_shows_in_the_health_of_its_capsule(
    run: Run, tmp_path: Path, ending: tuple[str, str], reason: str
) -> None:
    async def work(kernel: Kernel) -> None:
        component = engine_guest("run_recv.wat", ending)
        source = write_capsule(
            tmp_path / "c", component, manifest("c", body="[subscribe]\n" + ORDERS)
        )
        await install(kernel, source)
        capsule = only(kernel)
        assert capsule.health() == (True, "")
        kernel.publish(event("orders.new"))
        await eventually(lambda: not capsule.health().ok)
        assert reason in capsule.health().reason
        assert capsule.stats()["instances"] == 0
        await kernel.reload("c")
        assert only(kernel).health().ok, "a new load has a loop of its own"

    run(work)


def test_142_a_run_that_returns_at_once_leaves_a_call_driven_capsule(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        body = tool("ask") + '"orders.*" = { wit = "opaque", handler = "act" }\n'
        source = write_capsule(tmp_path / "c", engine_guest("kit.wat"), manifest("c", body=body))
        await install(kernel, source)
        capsule = only(kernel)
        assert (capsule.state, capsule.health().ok, capsule.answers_hooks()) == (
            "ready",
            True,
            True,
        )
        with pytest.raises(ToolError) as caught:
            await kernel.call_tool("ask")
        assert caught.value.code == "tool.no-answer", "the guest ran and had nothing to say"
        kernel.publish(event("orders.new"))
        await eventually(lambda: capsule.stats()["calls"] == 2)

    run(work)


@pytest.mark.parametrize("hook", ["after_upgrade", "after_install"], ids=["143", "143-first"])
def test_a_life_cycle_hook_that_traps_leaves_version_and_state_as_they_were(
    run: Run, tmp_path: Path, hook: str
) -> None:
    """`astrid-upgrade` runs on an upgrade, `astrid-install` on a first installation."""

    def version(number: str, **after: str) -> Any:
        return write_capsule(
            tmp_path / number, writing_state(number, **after), manifest("c", version=number)
        )

    async def work(kernel: Kernel) -> None:
        is_upgrade = hook == "after_upgrade"
        if is_upgrade:
            await install(kernel, version("1.0.0"))
            assert kernel.read_state("c", "made-by") == b"1.0.0"
        with pytest.raises(GuestTrapError, match="unreachable"):
            await install(kernel, version("2.0.0", **{hook: "unreachable"}))
        assert kernel.read_state("c", "made-by") == (b"1.0.0" if is_upgrade else None)
        expected = [("1.0.0", "ready")] if is_upgrade else []
        assert [(c.spec.version, c.state) for c in kernel.capsules()] == expected
        await install(kernel, version("2.1.0"))
        assert kernel.read_state("c", "made-by") == b"2.1.0"

    run(work)


@pytest.mark.slow
def test_145_a_busy_capsule_queues_256_events_and_drops_the_next(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        body = '[subscribe]\n"orders.*" = { wit = "opaque", handler = "loop" }\n'
        source = write_capsule(tmp_path / "c", engine_guest("acts.wat"), manifest("c", body=body))
        await install(kernel, source)
        notices = kernel.subscribe("astrid.v1.event_bus.lagged")
        kernel.publish(event("orders.first"))
        capsule = only(kernel)
        await eventually(lambda: capsule.stats()["active"] == 1)
        for _ in range(257):
            kernel.publish(event("orders.next"))
        assert kernel._parts.dispatcher.stats()["dropped"] == 1
        kernel.publish(event("unrelated"))  # what was dropped is told with the next event
        await eventually(notices.is_ready)
        (notice,) = notices.take(max_bytes=1 << 20).messages
        assert b'"lagged_count":1' in notice.payload

    run(work)


def test_27_principals_that_differ_by_case_have_states_of_their_own(
    run: Run, tmp_path: Path
) -> None:
    count = "(i32.store8 (i32.const 64) (i32.add (i32.const 1) (i32.load8_u (i32.const 64))))"

    async def work(kernel: Kernel) -> None:
        source = write_capsule(
            tmp_path / "c", answering("deny", "0", body=count), manifest("c", body=tool("ask"))
        )
        await install(kernel, source)
        seen = []
        for principal in ("A", "a", "A"):
            with pytest.raises(PolicyDeniedError) as caught:
                await kernel.call_tool("ask", principal=principal)
            seen.append(caught.value.message[-1])
        assert seen == ["1", "1", "2"]

    run(work)
