"""Capsules that are replaced, taken back and removed while a kernel runs."""

from __future__ import annotations

import asyncio
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_core.kernel.home_lock import HomeLock
from astrid_core.kernel.install import installer
from astrid_core.kernel.install.installed import load_installed
from astrid_core.kernel.live import LiveCapsules
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import (
    AstridError,
    CapsuleError,
    EngineError,
    PolicyDeniedError,
    ToolNotFoundError,
)
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId
from tests.support.capsules import (
    answering,
    eventually,
    install,
    manifest,
    tool,
    write_capsule,
)
from tests.support.guests import counting_loop, engine_guest, writing_state

Run = Callable[..., Any]
ORDERS = '[subscribe]\n"orders.*" = { wit = "opaque" }\n'
CRASHING = engine_guest("run_trap.wat")


def order() -> Envelope:
    return Envelope(
        "orders.new", b"{}", principal=DEFAULT_PRINCIPAL, attribution=Attribution.VERIFIED
    )


def rollbacks(home: Path) -> list[tuple[str, str]]:
    found = entries(AuditPlaces(home / "var" / "audit"), Query(action="capsule.rollback"))
    return [(row["action"]["version"], row["outcome"]) for row in found]


def loop(folder: Path, version: str, component: bytes) -> Any:
    return write_capsule(
        folder / version, component, manifest("loop", version=version, body=ORDERS)
    )


async def refused(kernel: Kernel, source: Any) -> AstridError:
    with pytest.raises(CapsuleError) as caught:
        await install(kernel, source)
    return caught.value


def test_an_upgrade_that_crashes_is_taken_back_also_for_the_next_start(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        text = manifest("c", body=tool("ask"))
        await install(kernel, write_capsule(tmp_path / "1", answering("deny", "first"), text))
        before = kernel.capsules()[0].source_id
        text = manifest("c", version="2.0.0", body=tool("ask"))
        error = await refused(kernel, write_capsule(tmp_path / "2", CRASHING, text))
        assert error.code == "capsule.crashed"
        assert error.hint is not None
        assert error.hint.startswith("version 1.0.0 is in place again")
        assert kernel.capsules()[0].source_id == before  # it never stopped

    run(work)
    assert rollbacks(tmp_path / "home") == [("1.0.0", "allowed")]

    async def after(kernel: Kernel) -> None:
        assert kernel.problems == []
        with pytest.raises(PolicyDeniedError, match="first"):
            await kernel.call_tool("ask")

    run(after)


def test_a_run_loop_whose_upgrade_crashes_runs_again_and_has_lost_no_event(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", counting_loop()))
        kernel.publish(order())
        await eventually(lambda: kernel.read_state("loop", "count") == b"1")
        stop = asyncio.Event()
        sent = 1

        async def keep_sending() -> None:
            nonlocal sent
            while not stop.is_set():
                kernel.publish(order())
                sent += 1
                await asyncio.sleep(0.002)

        sending = asyncio.create_task(keep_sending())
        await refused(kernel, loop(tmp_path, "2.0.0", CRASHING))
        stop.set()
        await sending
        (capsule,) = kernel.capsules()
        assert (capsule.spec.version, capsule.state) == ("1.0.0", "ready")
        await eventually(lambda: kernel.read_state("loop", "count") == str(sent).encode())

    run(work)


def test_what_the_upgrade_hook_of_a_version_that_crashes_wrote_is_undone(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", writing_state("one")))
        assert kernel.read_state("loop", "made-by") == b"one"
        await refused(kernel, loop(tmp_path, "2.0.0", writing_state("two", crashes=True)))
        assert kernel.read_state("loop", "made-by") == b"one"

    run(work)


@pytest.mark.slow
def test_a_call_that_runs_finishes_on_the_old_version(run: Run, tmp_path: Path) -> None:
    # About half a second of computing, then the answer.
    busy = """(local $n i64) (local.set $n (i64.const 300000000))
      (loop $l (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.ne (local.get $n) (i64.const 0))))"""

    async def work(kernel: Kernel) -> None:
        text = manifest("c", body=tool("ask"))
        await install(
            kernel, write_capsule(tmp_path / "1", answering("deny", "old", body=busy), text)
        )
        (old,) = kernel.capsules()
        asking = asyncio.create_task(kernel.call_tool("ask"))
        await eventually(lambda: old.stats()["active"] == 1)
        text = manifest("c", version="2.0.0", body=tool("ask"))
        source = write_capsule(tmp_path / "2", answering("deny", "new"), text)
        upgrading = asyncio.create_task(install(kernel, source))
        await eventually(lambda: kernel.capsules()[0] is not old)
        with pytest.raises(PolicyDeniedError, match="new"):
            await kernel.call_tool("ask", principal="alice")
        with pytest.raises(PolicyDeniedError, match="old"):
            await asking
        await upgrading
        assert old.stats()["instances"] == 0

    run(work)


def test_upgrades_of_a_run_loop_lose_no_event_and_keep_its_state(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", counting_loop()))
        sent = 0
        for minor in range(1, 6):
            upgrading = asyncio.create_task(
                install(kernel, loop(tmp_path, f"1.{minor}.0", counting_loop()))
            )
            while not upgrading.done():
                kernel.publish(order())
                sent += 1
                await asyncio.sleep(0.001)
            await upgrading
        assert sent > 20
        await eventually(lambda: kernel.read_state("loop", "count") == str(sent).encode())
        await asyncio.sleep(0.05)
        assert kernel.read_state("loop", "count") == str(sent).encode()  # and none came twice
        assert kernel._parts.bus.stats()["subscriptions"] == 1  # type: ignore[attr-defined]

    run(work)


@pytest.mark.slow
def test_what_a_new_version_does_not_subscribe_to_is_given_up(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", counting_loop()))
        bus = kernel._parts.bus
        assert bus.stats()["subscriptions"] == 1  # type: ignore[attr-defined]
        other = engine_guest("run_recv.wat", ('"orders.*"', '"others.*"'))
        body = ORDERS.replace("orders", "others")
        text = manifest("loop", version="2.0.0", body=body)
        await install(kernel, write_capsule(tmp_path / "2", other, text))
        assert bus.stats()["subscriptions"] == 1  # type: ignore[attr-defined]
        kernel.publish(order())
        assert bus.stats()["queued_messages"] == 0  # type: ignore[attr-defined]

    run(work)


def test_a_restart_that_comes_too_late_changes_nothing(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", counting_loop()))
        (old,) = kernel.capsules()
        await kernel.reload("loop")
        (new,) = kernel.capsules()
        assert await kernel._live.restart(old) is None
        assert kernel.capsules() == [new]

    run(work)


def test_nothing_is_loaded_into_a_kernel_that_has_closed(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        await install(kernel, loop(tmp_path, "1.0.0", counting_loop()))
        parts = kernel._parts
        installed = load_installed(parts.home, "loop")
        await asyncio.to_thread(parts.capsules.close)
        with pytest.raises(CapsuleError) as caught:
            parts.capsules.load(installed)
        assert caught.value.code == "kernel.closed"
        assert threads_of("loop") == []

    run(work)


def threads_of(capsule: str) -> list[str]:
    name = f"astrid-run-{capsule}"
    return [thread.name for thread in threading.enumerate() if thread.name == name]


@pytest.mark.slow
def test_events_for_handlers_find_a_version_at_every_instant_of_an_upgrade(
    run: Run, tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        def version(number: int) -> Any:
            text = manifest("guard", version=f"1.{number}.0", body=tool("ask"))
            return write_capsule(tmp_path / str(number), answering("deny", "no"), text)

        await install(kernel, version(0))
        seen: list[str] = []

        async def call() -> None:
            while len(seen) < 10_000 and not upgraded.done():
                with pytest.raises(AstridError) as caught:
                    await kernel.call_tool("ask")
                seen.append(caught.value.code)

        async def upgrade() -> None:
            for number in range(1, 15):
                await install(kernel, version(number))

        upgraded = asyncio.ensure_future(upgrade())
        await asyncio.gather(upgraded, *(call() for _ in range(4)))
        assert set(seen) == {"denied.policy"}

    run(work)


def compiled(home: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (home / "cache").glob("*/*.aot")}


def test_compiled_components_go_with_the_last_capsule_that_has_them(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"

    async def work(kernel: Kernel) -> None:
        for name in ("one", "two"):
            await install(
                kernel, write_capsule(tmp_path / name, answering("continue"), manifest(name))
            )
        (same,) = compiled(home)
        kernel._parts.capsules.unload(CapsuleId("two"))  # installed, and not loaded for now
        await kernel.remove("one")
        assert compiled(home) == {same}
        await kernel.reload("two")
        text = manifest("two", version="2.0.0")
        await install(kernel, write_capsule(tmp_path / "2", answering("deny", "x"), text))
        (new,) = compiled(home)
        assert new != same
        shutil.rmtree(home / "home/default/.local/capsules/two")
        await kernel.reload_all()
        assert compiled(home) == set()

    run(work)


def test_what_was_removed_by_others_is_unloaded_at_a_reload(run: Run, tmp_path: Path) -> None:
    async def work(kernel: Kernel) -> None:
        for name in ("kept", "gone", "broken"):
            text = manifest(name, body=tool(f"ask_{name}"))
            await install(kernel, write_capsule(tmp_path / name, answering("deny", name), text))
        installed = tmp_path / "home/home/default/.local/capsules"
        shutil.rmtree(installed / "gone")
        (installed / "broken" / "Capsule.toml").write_text("changed")
        heard = kernel.subscribe("astrid.v1.capsules_loaded")
        assert await kernel.reload_all() == []
        assert [capsule.id for capsule in kernel.capsules()] == ["broken", "kept"]
        assert [problem.capsule for problem in kernel.problems] == ["broken"]
        with pytest.raises(ToolNotFoundError):
            await kernel.call_tool("ask_gone")
        for name in ("kept", "broken"):  # damage is no reason to stop what works
            with pytest.raises(PolicyDeniedError):
                await kernel.call_tool(f"ask_{name}")
        assert len(heard.take(max_bytes=1 << 20).messages) == 1

    run(work)


def test_a_part_that_cannot_be_stopped_keeps_no_other_part_running(
    run: Run, tmp_path: Path
) -> None:
    class Stuck:
        def unload(self, *, grace_s: float) -> None:
            raise EngineError(f"still there after {grace_s} s", code="engine.unload-stuck")

    async def work(kernel: Kernel) -> None:
        text = manifest("c", body=tool("ask"))
        await install(kernel, write_capsule(tmp_path / "1", answering("deny", "no"), text))
        loaded = kernel._parts.capsules.get(CapsuleId("c"))
        real = loaded.parts[0]
        loaded.parts = (real, Stuck())  # type: ignore[assignment]
        with pytest.raises(EngineError, match="still there"):
            loaded.unload(grace_s=0.0)
        assert real.health().reason == "unloaded"
        loaded.parts = (real,)

    run(work)


class Held:
    """Holds an installation where it is about to be put in place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, wait_s: float = 20.0) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self.said: list[str] = []
        real = installer.put_in_place

        def late(staging: Path, target: Path) -> Path:
            self.arrived.set()
            self.go_on.wait(wait_s)
            done = real(staging, target)
            self.said.append("in place")
            return done

        monkeypatch.setattr(installer, "put_in_place", late)


def test_an_installation_that_is_cancelled_is_whole_before_anybody_else_has_a_turn(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def work(kernel: Kernel) -> None:
        text = manifest("c", body=tool("ask"))
        source = write_capsule(tmp_path / "1", answering("deny", "first"), text)
        task = asyncio.create_task(install(kernel, source))
        await eventually(held.arrived.is_set)
        other = asyncio.create_task(kernel.reload_all())
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        assert not other.done()
        held.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other
        assert [capsule.id for capsule in kernel.capsules()] == ["c"]

    run(work)
    assert held.said == ["in place"]

    async def after(kernel: Kernel) -> None:
        assert kernel.problems == []
        with pytest.raises(PolicyDeniedError, match="first"):
            await kernel.call_tool("ask")

    run(after)


@pytest.mark.parametrize("who", ["caller", "kernel"])
def test_an_installation_that_still_compiles_ends_with_its_caller_or_the_kernel(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    real = LiveCapsules.close
    never_compiled = str(uuid.uuid4())

    def progress(_step: str, _fraction: float | None) -> None:
        arrived.set()
        go_on.wait(20)

    async def closing(live: LiveCapsules) -> None:
        closed = asyncio.ensure_future(real(live))
        await asyncio.sleep(0)
        go_on.set()
        await closed

    monkeypatch.setattr(LiveCapsules, "close", closing)

    async def install_slowly(kernel: Kernel) -> None:
        text = manifest("c", body=tool("ask"))
        source = write_capsule(tmp_path / "1", answering("deny", never_compiled), text)
        with kernel.stage(source) as staged:
            await kernel.install(staged, progress=progress)

    async def work(kernel: Kernel) -> asyncio.Task[None]:
        task = asyncio.create_task(install_slowly(kernel))
        await eventually(arrived.is_set)
        if who == "caller":
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        return task

    run(work)

    async def after(kernel: Kernel) -> None:
        assert kernel.problems == []
        assert kernel.capsules() == []

    run(after)


def test_a_kernel_gives_its_home_up_after_the_installation_that_is_under_way(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, wait_s=1.0)  # whether or not closing waits for this
    close = HomeLock.close

    def closing(lock: HomeLock) -> None:
        held.said.append("given up")
        held.go_on.set()
        close(lock)

    monkeypatch.setattr(HomeLock, "close", closing)

    async def work(kernel: Kernel) -> asyncio.Task[Any]:
        text = manifest("c", body=tool("ask"))
        source = write_capsule(tmp_path / "1", answering("deny", "first"), text)
        task = asyncio.create_task(install(kernel, source))
        await eventually(held.arrived.is_set)
        return task

    run(work)
    assert held.said[:2] == ["in place", "given up"]
