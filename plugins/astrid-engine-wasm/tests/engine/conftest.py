"""A kernel small enough to read, and real components, for the tests of the engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from blake3 import blake3
from wasmtime import wat2wasm

from astrid_engine_wasm.capsule import WasmCapsule
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.cancel import CancelToken, wait_any
from astrid_hookspecs.engines import (
    MIB,
    Call,
    CapsuleSpec,
    EngineEnvironment,
    HostInstance,
    Limits,
    WitError,
)
from astrid_hookspecs.values import CapsuleId, Principal

ROOT = Path(__file__).parents[4]
GUESTS = Path(__file__).parents[1] / "engine_guests"
FUSE_S = 20.0
SECRET = b"a home's secret, 32 bytes of it."


class FakeSubscription:
    """A bus subscription on which nothing ever arrives."""

    def __init__(self) -> None:
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


class FakeInstance:
    """The host side of one instance; keeps what happened to it."""

    def __init__(self, host: FakeHost, principal: str, purpose: str) -> None:
        self.host = host
        self.principal = principal
        self.purpose = purpose
        self.cancel = CancelToken()
        self.ready = threading.Event()
        self.events: list[str] = []
        self.call: Call | None = None
        self.deadline: float | None = None
        self.subscriptions: list[FakeSubscription] = []

    def handler(self, interface: str, function: str) -> Callable[..., object] | None:
        name = f"{interface.partition('@')[0]}#{function}"
        return self.host.handlers.get(name) or {
            "astrid:sys/host#signal-ready": self.ready.set,
            "astrid:sys/host#sleep-ns": self._sleep,
            "astrid:ipc/host#subscribe": self._subscribe,
            "astrid:ipc/host#[method]subscription.recv": self._receive,
            "astrid:elicit/host#has-secret": lambda _key: True,
        }.get(name, lambda *_: None)

    def enter(self, call: Call, *, deadline: float | None) -> None:
        if self.host.refuse is not None:
            raise self.host.refuse
        self.events.append("enter")
        self.call, self.deadline = call, deadline
        self.host.entered.set()

    def leave(self) -> None:
        self.events.append("leave")
        self.call = self.deadline = None

    def close(self) -> None:
        self.events.append("close")

    def _sleep(self, duration_ns: int) -> None:
        assert self.call is not None
        tokens = [self.cancel] + ([self.call.cancel] if self.call.cancel else [])
        timeout_s = duration_ns / 1e9
        if self.deadline is not None:
            timeout_s = min(timeout_s, max(0.0, self.deadline - time.monotonic()))
        if wait_any(tuple(tokens), timeout_s=timeout_s):
            raise WitError("cancelled")

    def _subscribe(self, _pattern: str) -> FakeSubscription:
        self.subscriptions.append(FakeSubscription())
        return self.subscriptions[-1]

    def _receive(self, _subscription: FakeSubscription, timeout_ms: int) -> object:
        if wait_any((self.cancel,), timeout_s=timeout_ms / 1000):
            raise WitError("closed")
        return ([], 0, 0)


class FakeHost:
    """Implements `HostApi`; `handlers` by `package/interface#function` override what it does."""

    def __init__(self) -> None:
        self.instances: list[FakeInstance] = []
        self.handlers: dict[str, Callable[..., object]] = {}
        self.refuse: Exception | None = None
        self.entered = threading.Event()

    def open_instance(self, principal: Principal, *, purpose: str) -> HostInstance:
        self.instances.append(FakeInstance(self, principal, purpose))
        return self.instances[-1]

    @property
    def open_count(self) -> int:
        return sum("close" not in instance.events for instance in self.instances)


class Bench(SimpleNamespace):
    """An engine with its cache and a way to load guests."""

    engine: WasmEngine
    cache: Path
    folder: Path

    def component(self, source: str | bytes) -> Path:
        """A component file from a guest's name, wat text or bytes."""
        if isinstance(source, str):
            text = (GUESTS / source).read_text() if source.endswith(".wat") else source
            source = bytes(wat2wasm(text))
        path = self.folder / f"{blake3(source).hexdigest()[:16]}.wasm"
        path.write_bytes(source)
        return path

    def spec(self, source: str | bytes, **fields: object) -> CapsuleSpec:
        path = self.component(source)
        values: dict[str, object] = {
            "id": CapsuleId("a-capsule"),
            "version": "1.0.0",
            "source_id": "4d5d4c4e-0000-4000-8000-000000000001",
            "directory": self.folder,
            "component": path,
            "component_hash": blake3(path.read_bytes()).hexdigest(),
        }
        return CapsuleSpec(**{**values, **fields})  # type: ignore[arg-type]

    def load(
        self, source: str | bytes, host: FakeHost | None = None, **fields: object
    ) -> WasmCapsule:
        capsule = self.engine.load(self.spec(source, **fields), host or FakeHost())
        assert isinstance(capsule, WasmCapsule)
        self.capsules.append(capsule)
        return capsule


@pytest.fixture(scope="session")
def abi() -> Mapping[str, tuple[str, ...]]:
    lock = json.loads((ROOT / "astrid_core" / "host" / "abi_lock.json").read_text())
    return {name: tuple(texts) for name, texts in lock["signatures"].items()}


@pytest.fixture(scope="session")
def shared_engine(
    tmp_path_factory: pytest.TempPathFactory, abi: Mapping[str, tuple[str, ...]]
) -> Iterator[WasmEngine]:
    """One engine for the tests that do not look at its cache; its helper starts once."""
    folder = tmp_path_factory.mktemp("engine")
    engine = WasmEngine(EngineEnvironment(cache_dir=folder / "c", seal_key=SECRET, abi=abi))
    yield engine
    engine.close()


@pytest.fixture
def bench(shared_engine: WasmEngine, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(engine=shared_engine, folder=tmp_path, capsules=[])
    yield made
    for capsule in made.capsules:
        capsule.unload(grace_s=0.0)
    assert shared_engine._ticker.running == 0


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def make_call() -> Iterator[Callable[..., Call]]:
    """Makes calls; those without a token of their own are cut off after `FUSE_S`, so that a guest
    which nothing stops fails its test instead of hanging the run."""
    fuse = CancelToken()
    timer = threading.Timer(FUSE_S, fuse.fire)
    timer.daemon = True
    timer.start()

    def make(
        principal: str = "alice",
        *,
        timeout_s: float | None = 10.0,
        memory_mib: int = 64,
        cancel: CancelToken | None = None,
    ) -> Call:
        limits = Limits(memory_mib * MIB, timeout_s)
        return Call(Principal(principal), limits, cancel=cancel or fuse)

    yield make
    timer.cancel()
