"""Attack: guests that block, ignore being cancelled, or call each other without end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from astrid_core import Kernel
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH
from astrid_core.kernel import capsules
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import (
    AstridError,
    EngineError,
    GuestCancelledError,
    GuestTimeoutError,
    PolicyDeniedError,
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

HOOK = """
  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $i "hook") (memory (core memory $libc "memory"))
      (realloc (core func $libc "realloc")) string-encoding=utf8))"""

LIBC = """
  (core module $libc
    (memory (export "memory") 1)
    (data (i32.const 0) "continue")
    (data (i32.const 16) "{topic}")
    (data (i32.const 200) "{{}}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))"""

ANSWER = """
      (i32.store (i32.const 1024) (i32.const 0))
      (i32.store (i32.const 1028) (i32.const 8))
      (i32.store8 (i32.const 1032) (i32.const 0))
      (i32.const 1024)"""


def sleeper(*, stubborn: bool) -> bytes:
    """Sleeps a minute in the host; a stubborn one does it again whatever the host says."""
    call = "(call $sleep (i64.const 60000000000) (i32.const 512))"
    body = f"(loop $again {call} (br $again)) unreachable" if stubborn else call + ANSWER
    text = f"""(component
      (import "astrid:sys/host@1.0.0" (instance $sys
        (type $error' (variant (case "capability-denied") (case "config-key-reserved")
          (case "too-large") (case "registry-unavailable") (case "cancelled")
          (case "unknown" string)))
        (export "error-code" (type $error (eq $error')))
        (export "sleep-ns" (func (param "duration-ns" u64) (result (result (error $error)))))))
      {LIBC.format(topic="")}
      (core func $sleep (canon lower (func $sys "sleep-ns")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
      (core module $m
        (import "libc" "memory" (memory 1))
        (import "host" "sleep" (func $sleep (param i64 i32)))
        (func (export "hook") (param i32 i32 i32 i32) (result i32) {body}))
      (core instance $i (instantiate $m (with "libc" (instance $libc))
        (with "host" (instance (export "sleep" (func $sleep))))))
      {HOOK})"""
    return bytes(wasmtime.wat2wasm(text))


def echo(topic: str) -> bytes:
    """Publishes on a topic whenever it is called."""
    text = f"""(component
      (import "astrid:ipc/host@1.0.0" (instance $ipc
        (type $error' (variant (case "capability-denied") (case "invalid-input") (case "closed")
          (case "rate-limited") (case "backpressure") (case "quota") (case "timeout")
          (case "unknown" string)))
        (export "error-code" (type $error (eq $error')))
        (export "publish" (func (param "topic" string) (param "payload" string)
          (result (result (error $error)))))))
      {LIBC.format(topic=topic)}
      (core func $publish (canon lower (func $ipc "publish")
        (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
      (core module $m
        (import "libc" "memory" (memory 1))
        (import "host" "publish" (func $publish (param i32 i32 i32 i32 i32)))
        (func (export "hook") (param i32 i32 i32 i32) (result i32)
          (call $publish (i32.const 16) (i32.const {len(topic)}) (i32.const 200) (i32.const 2)
            (i32.const 512))
          {ANSWER}))
      (core instance $i (instantiate $m (with "libc" (instance $libc))
        (with "host" (instance (export "publish" (func $publish))))))
      {HOOK})"""
    return bytes(wasmtime.wat2wasm(text))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    def runner(work: Work) -> None:
        async def main() -> None:
            async with Kernel.open(home=tmp_path / "home") as kernel:
                await work(kernel)

        asyncio.run(main())

    return runner


def event(topic: str, principal: str = "default") -> Envelope:
    return Envelope(topic, b"{}", principal=Principal(principal), attribution=Attribution.VERIFIED)


async def install_sleeper(kernel: Kernel, directory: Path, *, stubborn: bool) -> None:
    source = write_capsule(
        directory, sleeper(stubborn=stubborn), manifest("sleeper", body=tool("nap"))
    )
    await install(kernel, source)


@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "stubborn"])
@pytest.mark.slow
def test_a_deadline_passes_inside_a_host_call(
    run: Callable[..., None], tmp_path: Path, *, stubborn: bool
) -> None:
    async def work(kernel: Kernel) -> None:
        await install_sleeper(kernel, tmp_path / "s", stubborn=stubborn)
        profile = tmp_path / "home" / "etc" / "profiles" / "impatient.toml"
        profile.write_text("[quotas]\nmax_timeout_secs = 1\n")
        started = time.monotonic()
        with pytest.raises(GuestTimeoutError if stubborn else ToolError):
            await kernel.call_tool("nap", principal="impatient")
        assert 0.9 < time.monotonic() - started < 5

    run(work)


@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "stubborn"])
def test_cancelling_the_caller_wakes_a_guest_that_sleeps(
    run: Callable[..., None], tmp_path: Path, *, stubborn: bool
) -> None:
    async def work(kernel: Kernel) -> None:
        await install_sleeper(kernel, tmp_path / "s", stubborn=stubborn)
        napping = asyncio.create_task(kernel.call_tool("nap"))
        (capsule,) = kernel.capsules()
        await eventually(lambda: capsule.stats()["active"] == 1)
        napping.cancel()
        await eventually(lambda: capsule.stats()["active"] == 0, timeout_s=1)

    run(work)


@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "stubborn"])
@pytest.mark.slow
def test_removing_a_capsule_ends_its_sleep(
    run: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stubborn: bool,
) -> None:
    monkeypatch.setattr(capsules, "DRAIN_TIMEOUT_S", 0.2)
    monkeypatch.setattr(capsules, "UNLOAD_GRACE_S", 0.3)

    async def work(kernel: Kernel) -> None:
        await install_sleeper(kernel, tmp_path / "s", stubborn=stubborn)
        napping = asyncio.create_task(kernel.call_tool("nap"))
        (capsule,) = kernel.capsules()
        await eventually(lambda: capsule.stats()["active"] == 1)
        started = time.monotonic()
        await kernel.remove("sleeper")
        assert time.monotonic() - started < 5
        assert capsule.stats()["instances"] == 0
        with pytest.raises((GuestCancelledError, ToolError, EngineError)):
            await asyncio.wait_for(napping, 2)

    run(work)


@pytest.mark.slow
def test_sleepers_of_many_principals_stop_nobody_else(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        await install_sleeper(kernel, tmp_path / "s", stubborn=True)
        await install_example(kernel, "tally")
        naps = [asyncio.create_task(kernel.call_tool("nap", principal=f"p{n}")) for n in range(300)]
        (sleeping,) = [capsule for capsule in kernel.capsules() if capsule.id == "sleeper"]
        await eventually(lambda: sleeping.stats()["active"] >= 60)
        kernel.publish(event("notes.v1.ingested"))
        await eventually(lambda: kernel.read_state("tally", "count") == b"1", timeout_s=3)
        for nap in naps:
            nap.cancel()
        await asyncio.gather(*naps, return_exceptions=True)

    run(work)


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "b")], ids=["itself", "each-other"])
def test_capsules_that_call_each_other_without_end_are_stopped(
    run: Callable[..., None], tmp_path: Path, pair: tuple[str, str]
) -> None:
    first, second = (f"ring.v1.{name}" for name in pair)

    def member(name: str, listens: str, speaks: str) -> Any:
        body = (
            f'[publish]\n"{speaks}" = "opaque"\n'
            f'[subscribe]\n"{listens}" = {{ wit = "opaque", handler = "h" }}\n'
        )
        return write_capsule(tmp_path / name, echo(speaks), manifest(name, body=body))

    async def work(kernel: Kernel) -> None:
        await install(kernel, member("one", first, second))
        if first != second:
            await install(kernel, member("two", second, first))
        heard = kernel.subscribe("ring.v1.*")
        kernel.publish(event(first))
        await eventually(
            lambda: sum(c.stats()["calls"] for c in kernel.capsules()) == MAX_CAUSAL_DEPTH + 1
        )
        await asyncio.sleep(0.1)
        depths = [message.depth for message in heard.take(max_bytes=1 << 20).messages]
        assert depths == list(range(MAX_CAUSAL_DEPTH + 1))
        assert sum(c.stats()["calls"] for c in kernel.capsules()) == MAX_CAUSAL_DEPTH + 1

    run(work)


class Load:
    """Calls from many tasks while capsules are installed, reloaded and removed."""

    NAMES = ("aa", "bb", "cc")

    def __init__(self, kernel: Kernel, folder: Path, *, lasts_s: float) -> None:
        self.kernel = kernel
        self.folder = folder
        self.end = time.monotonic() + lasts_s
        self.seen: Counter[str] = Counter()

    async def install(self, name: str, number: int) -> None:
        source = write_capsule(
            self.folder / f"{name}{number}",
            answering("deny", f"{name} {number}"),
            manifest(name, version=f"1.0.{number}", body=tool(f"ask_{name}")),
        )
        await install(self.kernel, source)

    async def call(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - reproducible, no secret
        while time.monotonic() < self.end:
            name = chance.choice((*self.NAMES, "dd"))
            self.seen[await self._outcome(name, f"p{number % 7}")] += 1

    async def _outcome(self, name: str, principal: str) -> str:
        try:
            await asyncio.wait_for(self.kernel.call_tool(f"ask_{name}", principal=principal), 15)
        except PolicyDeniedError as answer:
            return "right" if f": {name} " in answer.message else "mixed up"
        except AstridError as error:  # only the one that comes and goes may be missing
            return "absent" if name == "dd" else f"{name}: {error!r}"
        except TimeoutError:
            return "hangs"
        return "no denial"

    async def change(self) -> None:
        number = 0
        while time.monotonic() < self.end:
            number += 1
            name = self.NAMES[number % 3]
            if number % 3 == 0:
                await self.kernel.reload(name)
            else:
                await self.install(name, number)
            if number % 4 == 0:
                await self.kernel.remove("dd")
            elif number % 4 == 2:
                await self.install("dd", number)


@pytest.mark.slow
def test_calls_and_changes_at_once_neither_hang_nor_mix_up_answers(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def work(kernel: Kernel) -> None:
        load = Load(kernel, tmp_path, lasts_s=4.0)
        for name in (*load.NAMES, "dd"):
            await load.install(name, 0)
        await asyncio.gather(load.change(), *(load.call(number) for number in range(50)))
        assert load.seen["right"] > 100
        assert set(load.seen) <= {"right", "absent"}
        assert kernel._parts.tools._pending == {}
        assert len(kernel._parts.capsules._sources._grants) == len(kernel.capsules())

    run(work)


def test_one_who_computes_without_end_in_many_capsules_keeps_nobody_else_waiting(
    run: Callable[..., None], tmp_path: Path
) -> None:
    settings = tmp_path / "home" / "etc" / "config.toml"
    settings.parent.mkdir(parents=True, mode=0o700)
    settings.parents[1].chmod(0o700)
    settings.write_text("[limits]\nworkers = 1\n")

    async def work(kernel: Kernel) -> None:
        (settings.parent / "profiles" / "mallory.toml").write_text(
            "[quotas]\nmax_timeout_secs = 5\n"
        )
        spinning = answering("continue", body="(loop $again (br $again))")
        for name, component in (("one", spinning), ("two", spinning), ("ok", answering("deny"))):
            source = write_capsule(tmp_path / name, component, manifest(name, body=tool(name)))
            await install(kernel, source)
        hogs = [
            asyncio.create_task(kernel.call_tool(name, principal="mallory"))
            for name in ("one", "two")
        ]
        await eventually(lambda: sum(c.stats()["active"] for c in kernel.capsules()) >= 1)
        started = time.monotonic()
        with pytest.raises(PolicyDeniedError):
            await kernel.call_tool("ok", principal="alice")
        assert time.monotonic() - started < 2
        for hog in hogs:
            hog.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)

    run(work)
