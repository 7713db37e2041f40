"""A Python capsule from source to answers: built for real, run by the real engine and host.

One build serves all tests of this file; see `tests.support.heartbeat`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.services import HostServices
from astrid_core.kernel.home import Home as KernelHome
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.engines import (
    Call,
    CapsuleSpec,
    EngineEnvironment,
    InterceptorBinding,
    Limits,
    LoadedCapsule,
    Readiness,
)
from astrid_hookspecs.values import CapsuleId, Principal
from astrid_sdk_host.builder import PythonCapsuleBuilder
from astrid_sdk_host.cache import BuildCache
from astrid_sdk_host.shrink import shrink
from tests.support.heartbeat import SOURCE, Heartbeat, heartbeat

pytestmark = pytest.mark.slow

SOURCE_ID = "11111111-2222-4333-8444-555555555555"
BINDINGS = (
    InterceptorBinding("tool.v1.execute.add", "tool_execute_add"),
    InterceptorBinding("heartbeat.v1.heard", "on_heard"),
)
WAIT_S = 20.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Heartbeat:
    return heartbeat(tmp_path_factory)


@pytest.fixture(scope="module")
def engine(built: Heartbeat) -> Iterator[WasmEngine]:
    """An engine with the compiled components of the home that has the capsule."""
    key = KernelHome.open(built.home).seal_key()
    made = WasmEngine(EngineEnvironment(built.home / "cache" / "wasm", key, load_abi()))
    yield made
    made.close()


@dataclass
class Home:
    """Real services below one capsule."""

    bus: MemoryBus
    kv: SqliteKvStore
    lines: list[tuple[str, str]] = field(default_factory=list)

    def write(self, principal: str, capsule: str, level: str, message: str) -> None:
        del principal, capsule
        self.lines.append((level, message))

    def quotas(self, principal: str) -> Any:
        del principal
        return self

    def is_enabled(self, _principal: str) -> bool:
        return True

    max_ipc_throughput_bytes = 10 * 1024 * 1024
    max_storage_bytes = 1024**3

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def services(self) -> HostServices:
        return HostServices(
            kv=self.kv,
            bus=self.bus,
            gate=Gate(votes=None, decided=lambda _event: None),
            profiles=self,
            clock=self,
            random_bytes=os.urandom,
            logs=self,
            blocked=contextlib.nullcontext,
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(MemoryBus(), SqliteKvStore(tmp_path))
    yield made
    made.bus.close()
    made.kv.close()


def load(engine: WasmEngine, built: Heartbeat, home: Home, *, run_class: Any) -> LoadedCapsule:
    report = engine.inspect(built.component)
    spec = CapsuleSpec(
        id=CapsuleId("heartbeat"),
        version="0.1.0",
        source_id=SOURCE_ID,
        directory=built.directory,
        component=built.component,
        component_hash=report.digest,
        bindings=BINDINGS,
        run_class=run_class,
    )
    grants = CapsuleGrants(
        capsule=spec.id,
        publish=("heartbeat.v1.beat", "tool.v1.execute.*.result"),
        subscribe=("heartbeat.v1.echo.*", *(binding.topic for binding in BINDINGS)),
    )
    context = CapsuleContext(
        spec=spec, grants=grants, owner=Principal("default"), config={"BEAT_SECONDS": 0.2}
    )
    return engine.load(spec, CapsuleHost(context, services=home.services()))


def call(name: str = "alice") -> Call:
    return Call(Principal(name), Limits())


def results(home: Home, topic: str) -> list[str]:
    found: list[str] = []
    home.bus.add_listener(
        topic, lambda item: found.append(json.loads(item.payload)["result"]["content"])
    )
    return found


def test_component_imports_the_host_and_nothing_else(built: Heartbeat, engine: WasmEngine) -> None:
    report = engine.inspect(built.component)

    assert report.imports == (
        "astrid:guest/lifecycle@1.0.0",
        "astrid:io/poll@1.0.0",
        "astrid:ipc/host@1.0.0",
        "astrid:kv/host@1.0.0",
        "astrid:sys/host@1.0.0",
    )
    assert report.exports == ("astrid-hook-trigger", "astrid-install", "run")
    assert report.has_run
    assert report.has_install
    assert not report.has_upgrade


def test_component_has_only_what_it_uses(built: Heartbeat) -> None:
    component = built.component.read_bytes()

    assert shrink(component) == component
    assert b"component-name" not in component


def test_objects_of_the_image_are_permanent(built: Heartbeat) -> None:
    """The count that the native module gives an object, less the reference that gave it."""
    count = (0x50000000 - 1).to_bytes(4, "little")

    assert built.component.read_bytes().count(count) > 10_000


def test_staged_directory_is_installable(built: Heartbeat) -> None:
    names = sorted(path.name for path in built.directory.iterdir())
    tools = json.loads((built.directory / "tools.json").read_text())

    assert names == ["Capsule.toml", "heartbeat.wasm", "tools.json"]
    assert [tool["name"] for tool in tools["tools"]] == ["status", "roll", "add"]
    assert tools["tools"][2]["input_schema"]["required"] == ["a", "b"]
    assert "place" not in tools["tools"][0]


def test_build_says_what_it_does(built: Heartbeat) -> None:
    assert not built.from_cache
    assert built.steps[0] == ("reading heartbeat", 0.0)
    assert any(step == "building heartbeat.wasm, about 8 s" for step, _ in built.steps)
    assert built.steps[-1] == ("built", 1.0)


def test_building_again_takes_no_time(built: Heartbeat, tmp_path: Path) -> None:
    builder = PythonCapsuleBuilder(cache=BuildCache(built.cache))
    start = time.perf_counter()

    result = builder.build(SOURCE, tmp_path / "again", progress=None)

    assert time.perf_counter() - start < 4
    assert result.from_cache
    assert (tmp_path / "again/heartbeat.wasm").read_bytes() == built.component.read_bytes()
    assert (tmp_path / "again/tools.json").read_text() == (
        built.directory / "tools.json"
    ).read_text()


def test_tools_answer_through_the_real_engine(
    built: Heartbeat, engine: WasmEngine, home: Home
) -> None:
    answers = results(home, "tool.v1.execute.add.result")
    capsule = load(engine, built, home, run_class="call")
    request = {"type": "tool_execute_request", "call_id": "c", "arguments": {"a": 2, "b": 3}}
    wrong = {**request, "arguments": {"a": 2, "b": "3"}}

    for payload in (request, wrong):
        outcome = capsule.invoke("tool_execute_add", json.dumps(payload).encode(), call())
        assert outcome == ("continue", None)

    assert answers == ["5", "argument 'b': expected an integer, found a string"]
    capsule.unload(grace_s=1)


def test_instances_have_their_own_entropy_and_the_real_time(
    built: Heartbeat, engine: WasmEngine, home: Home
) -> None:
    status = results(home, "tool.v1.execute.status.result")
    rolls = results(home, "tool.v1.execute.roll.result")
    capsule = load(engine, built, home, run_class="call")

    for principal in ("alice", "bob", "alice"):
        capsule.invoke("tool_execute_status", b'{"call_id":"c"}', call(principal))
        payload = json.dumps({"arguments": {"sides": 2**60}}).encode()
        capsule.invoke("tool_execute_roll", payload, call(principal))

    alice, bob, again = (json.loads(item) for item in status)
    assert alice["instance"] == again["instance"] != bob["instance"]
    assert alice["since"][:10] == time.strftime("%Y-%m-%d", time.gmtime())
    assert len(set(rolls)) == 3, "random is seeded anew in each instance"
    capsule.unload(grace_s=1)


def test_install_hook_reaches_the_store(built: Heartbeat, engine: WasmEngine, home: Home) -> None:
    capsule = load(engine, built, home, run_class="auto")

    assert capsule.lifecycle("astrid-install", call("default"))
    assert not capsule.lifecycle("astrid-upgrade", call("default"))

    stored = home.kv.get("default:capsule:heartbeat", "installed")
    assert json.loads(stored or b"{}")["at_ms"] > 1_750_000_000_000
    capsule.unload(grace_s=1)


def test_run_loop_beats_serves_and_stops(built: Heartbeat, engine: WasmEngine, home: Home) -> None:
    beats = home.bus.subscribe("heartbeat.v1.beat")
    answers = home.bus.subscribe("tool.v1.execute.add.result")
    capsule = load(engine, built, home, run_class="auto")
    assert capsule.is_run_loop()

    capsule.start(call("default"))
    request = {"type": "tool_execute_request", "call_id": "c", "arguments": {"a": 20, "b": 22}}
    home.bus.publish(
        Envelope(
            "tool.v1.execute.add",
            json.dumps(request).encode(),
            principal=Principal("alice"),
            attribution=Attribution.VERIFIED,
        )
    )

    assert capsule.wait_ready(timeout_s=WAIT_S) is Readiness.READY
    answer = receive(answers)
    assert json.loads(answer.payload)["result"]["content"] == "42"
    assert answer.principal == "alice"
    assert json.loads(receive(beats).payload) == {"beat": 1}
    start = time.monotonic()
    capsule.unload(grace_s=10)
    assert time.monotonic() - start < 5, "the loop ends by itself when the host asks it to"
    assert not [line for line in home.lines if line[0] == "error"]


def receive(subscription: Any) -> Envelope:
    """The next message, waited for."""

    event = threading.Event()
    subscription.add_waiter(event)
    if not subscription.is_ready():
        assert event.wait(WAIT_S), "nothing was published"
    message: Envelope = subscription.take(max_bytes=1).messages[0]
    return message
