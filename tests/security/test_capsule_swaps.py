"""Attack the moments when capsules come, go and replace each other, and the ways to a run loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_core.kernel import assembly, capsules
from astrid_core.kernel import kernel as kernel_module
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import (
    CapabilityDeniedError,
    CapsuleError,
    ConfigError,
    EngineError,
    PolicyDeniedError,
    ProtocolError,
    ToolError,
)
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

Work = Callable[[Kernel], Coroutine[Any, Any, object]]
GUESTS = Path(__file__).parents[2] / "plugins/astrid-engine-wasm/tests/engine_guests"
ORDERS = '"orders.*" = { wit = "opaque" }\n'


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    def runner(work: Work, *, plugins: Any = ()) -> None:
        async def main() -> None:
            async with Kernel.open(home=tmp_path / "home", plugins=plugins) as kernel:
                await work(kernel)

        asyncio.run(main())

    return runner


def loop_guest(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm((GUESTS / f"run_{name}.wat").read_text()))


def receiver(directory: Path) -> Any:
    """A run loop that takes what it gets and never answers; offers the tool `wait`."""
    return write_capsule(
        directory, loop_guest("recv"), manifest("loop", body=tool("wait") + ORDERS)
    )


def disable(home: Path, principal: str) -> None:
    (home / "etc" / "profiles" / f"{principal}.toml").write_text("enabled = false\n")


class Probe:
    """Refuses what it is told to, by action and resource; records what it is asked."""

    def __init__(self, *refused: tuple[str, str]) -> None:
        self.refused = refused
        self.asked: list[tuple[str, str, str]] = []

    @hookimpl
    def astrid_authorize(self, request: AuthzRequest) -> Vote:
        self.asked.append((request.action, request.resource, request.principal))
        if (request.action, request.resource) in self.refused:
            return Vote(Verdict.DENY, "not here")
        return Vote(Verdict.ABSTAIN, "no opinion")


def test_a_new_version_that_crashes_leaves_the_old_one_serving(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        good = write_capsule(
            tmp_path / "1", answering("deny", "first"), manifest("c", body=tool("ask"))
        )
        await install(kernel, good)
        source_ids = set(kernel._parts.capsules._sources._grants)
        bad = write_capsule(
            tmp_path / "2", loop_guest("trap"), manifest("c", version="2.0.0", body=tool("ask"))
        )
        with pytest.raises(CapsuleError) as caught:
            await install(kernel, bad)
        assert caught.value.code == "capsule.crashed"
        with pytest.raises(PolicyDeniedError, match="first"):
            await kernel.call_tool("ask")
        assert [(c.spec.version, c.state) for c in kernel.capsules()] == [("1.0.0", "ready")]
        assert set(kernel._parts.capsules._sources._grants) == source_ids

    run(work)


def test_a_first_version_that_crashes_is_shown_as_failed_and_nothing_of_it_runs(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        bad = write_capsule(tmp_path / "2", loop_guest("trap"), manifest("c"))
        with pytest.raises(CapsuleError):
            await install(kernel, bad)
        (capsule,) = kernel.capsules()
        assert capsule.state == "failed"
        assert "unreachable" in capsule.problem
        assert capsule.stats()["instances"] == 0
        assert kernel._parts.capsules._sources._grants == {}

    run(work)


@pytest.mark.slow
def test_handlers_of_the_version_before_do_not_outlive_it(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(
            kernel,
            write_capsule(tmp_path / "1", answering("continue"), manifest("loop", body=tool("a"))),
        )
        assert kernel._parts.dispatcher.stats()["bindings"] == 1
        text = manifest("loop", version="2.0.0", body=tool("wait") + ORDERS)
        await install(kernel, write_capsule(tmp_path / "2", loop_guest("recv"), text))
        assert kernel._parts.dispatcher.stats()["bindings"] == 0

    run(work)


def test_an_unload_that_fails_stops_neither_the_others_nor_the_next_try(
    run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unloaded: list[str] = []
    real = Loaded.unload

    def unload(capsule: Loaded, *, grace_s: float) -> None:
        unloaded.append(capsule.id)
        real(capsule, grace_s=grace_s)
        if capsule.id == "b":
            raise EngineError("stuck", code="engine.unload-stuck")

    monkeypatch.setattr(Loaded, "unload", unload)

    async def work(kernel: Kernel) -> None:
        for name in ("a", "b", "c"):
            await install(
                kernel, write_capsule(tmp_path / name, answering("continue"), manifest(name))
            )

    with pytest.raises(EngineError):
        run(work)
    assert sorted(unloaded) == ["a", "b", "c"]
    unloaded.clear()

    async def remove(kernel: Kernel) -> None:
        with pytest.raises(EngineError):
            await kernel.remove("b")
        assert [capsule.id for capsule in kernel.capsules()] == ["a", "c"]

    run(remove)


def test_a_run_loop_is_not_started_when_its_owner_is_disabled(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        disable(tmp_path / "home", "default")
        with pytest.raises(CapabilityDeniedError) as caught:
            await install(kernel, receiver(tmp_path / "r"))
        assert caught.value.rule == "profile.enabled"
        (capsule,) = kernel.capsules()
        assert capsule.state == "failed"
        assert capsule.stats()["instances"] == 0

    run(work)


def test_a_policy_is_asked_before_a_run_loop_starts(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        with pytest.raises(PolicyDeniedError):
            await install(kernel, receiver(tmp_path / "r"))

    run(work, plugins={"probe": Probe(("capsule.invoke", "run"))})


@pytest.mark.slow
def test_a_tool_call_reaches_a_run_loop_only_through_the_gate(
    run: Callable[..., None], tmp_path: Path
) -> None:
    topic = "tool.v1.execute.wait"

    async def work(kernel: Kernel) -> None:
        await install(kernel, receiver(tmp_path / "r"))
        heard = kernel.subscribe(topic)
        disable(tmp_path / "home", "bob")
        with pytest.raises(CapabilityDeniedError):
            await kernel.call_tool("wait", principal="bob", timeout_s=1)
        with pytest.raises(PolicyDeniedError):
            await kernel.call_tool("wait", principal="alice", timeout_s=1)
        assert not heard.is_ready()

    run(work, plugins={"probe": Probe(("capsule.invoke", topic))})


@pytest.mark.slow
def test_a_run_loop_that_never_answers_is_given_up_at_the_principals_limit(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, receiver(tmp_path / "r"))
        profile = tmp_path / "home" / "etc" / "profiles" / "impatient.toml"
        profile.write_text("[quotas]\nmax_timeout_secs = 1\n")
        started = time.monotonic()
        with pytest.raises(ToolError) as caught:
            await asyncio.wait_for(kernel.call_tool("wait", principal="impatient"), 10)
        assert caught.value.code == "tool.timeout"
        assert 0.9 < time.monotonic() - started < 3
        assert kernel._parts.tools._pending == {}

    run(work)


def test_an_install_hook_runs_only_through_the_gate(
    run: Callable[..., None], tmp_path: Path
) -> None:
    hook = """(component (core module $m (func (export "f") unreachable))
      (core instance $i (instantiate $m))
      (func (export "astrid-install") (canon lift (core func $i "f"))))"""
    source = write_capsule(tmp_path / "c", bytes(wasmtime.wat2wasm(hook)), manifest("c"))

    async def work(kernel: Kernel) -> None:
        with pytest.raises(PolicyDeniedError):  # not the trap
            await install(kernel, source)
        assert kernel.capsules() == []

    run(work, plugins={"probe": Probe(("capsule.invoke", "astrid-install"))})

    async def disabled(kernel: Kernel) -> None:
        disable(tmp_path / "home", "default")
        with pytest.raises(CapabilityDeniedError):
            await install(kernel, source)

    run(disabled)


def answer_to(request: Envelope, *, source_id: str, principal: str) -> Envelope:
    call_id = request.payload.split(b'"call_id":"')[1].split(b'"')[0].decode()
    text = (
        f'{{"type":"tool_execute_result","call_id":"{call_id}","result":'
        f'{{"call_id":"{call_id}","content":"from {principal}","is_error":false}}}}'
    )
    return Envelope(
        f"{request.topic}.result",
        text.encode(),
        kind="tool_execute_result",
        source_id=source_id,
        principal=Principal(principal),
        attribution=Attribution.VERIFIED,
    )


@pytest.mark.slow
def test_an_answer_given_for_another_principal_is_not_accepted(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, receiver(tmp_path / "r"))
        heard = kernel.subscribe("tool.v1.execute.wait")
        calling = asyncio.create_task(kernel.call_tool("wait", principal="alice", timeout_s=5))
        await eventually(heard.is_ready)
        (request,) = heard.take(max_bytes=1 << 20).messages
        (loop,) = kernel.capsules()
        for principal in ("mallory", "alice"):
            kernel.publish(answer_to(request, source_id=loop.source_id, principal=principal))
        assert (await calling).content == "from alice"

    run(work)


@pytest.mark.slow
def test_the_successor_of_the_capsule_that_was_asked_may_answer(
    run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capsules, "UNLOAD_GRACE_S", 0.1)

    async def work(kernel: Kernel) -> None:
        await install(kernel, receiver(tmp_path / "r"))
        heard = kernel.subscribe("tool.v1.execute.wait")
        calling = asyncio.create_task(kernel.call_tool("wait", principal="alice", timeout_s=5))
        await eventually(heard.is_ready)
        (request,) = heard.take(max_bytes=1 << 20).messages
        (before,) = kernel.capsules()
        await kernel.reload("loop")
        (after,) = kernel.capsules()
        assert before.source_id != after.source_id
        kernel.publish(answer_to(request, source_id=after.source_id, principal="alice"))
        assert (await calling).capsule == "loop"

    run(work)


@pytest.mark.parametrize(
    ("topic", "principal", "error"),
    [
        ("a..b", "alice", ProtocolError),
        ("a\0b", "alice", ProtocolError),
        ("a\u202eb", "alice", ProtocolError),
        ("x" * 257, "alice", ProtocolError),
        ("a.*", "alice", ProtocolError),
        ("a.b", "../../etc/passwd", ConfigError),
        ("a.b", "alice:capsule:other", ConfigError),
        ("a.b", "", ConfigError),
    ],
)
def test_what_an_embedding_program_passes_on_is_checked(
    run: Callable[..., None], topic: str, principal: str, error: type[Exception]
) -> None:
    async def work(kernel: Kernel) -> None:
        everything = kernel.subscribe("**")
        with pytest.raises(error):
            kernel.publish(
                Envelope(
                    topic,
                    b"{}",
                    principal=Principal(principal),
                    attribution=Attribution.VERIFIED,
                )
            )
        assert not everything.is_ready()

    run(work)


@pytest.mark.slow
def test_arguments_beyond_reason_are_a_typed_error(run: Callable[..., None]) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}

    async def work(kernel: Kernel) -> None:
        await install_example(kernel, "spinner")
        for arguments in (
            {"a": deep},
            {"a": "\ud800"},
            {"a": "x" * (1 << 20)},
        ):
            with pytest.raises(ToolError) as caught:
                await kernel.call_tool("spin", arguments, timeout_s=2)
            assert caught.value.code == "tool.arguments"
        assert kernel._parts.tools._pending == {}

    run(work)


def test_a_boot_that_is_cancelled_gives_the_home_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = assembly.assemble
    started, go_on = threading.Event(), threading.Event()

    def assemble(path: Path, **options: Any) -> Any:
        parts = real(path, **options)
        started.set()
        assert go_on.wait(10)
        return parts

    async def main() -> None:
        async def boot() -> None:
            async with Kernel.open(home=tmp_path / "home"):
                pytest.fail("it was cancelled before")

        monkeypatch.setattr(kernel_module, "assemble", assemble)
        booting = asyncio.create_task(boot())
        assert await asyncio.to_thread(started.wait, 10)
        booting.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await booting
        go_on.set()
        monkeypatch.setattr(kernel_module, "assemble", real)
        async with Kernel.open(home=tmp_path / "home") as kernel:
            assert kernel.problems == []

    asyncio.run(main())
