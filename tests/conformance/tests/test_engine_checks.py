"""Each check of engines rejects an engine that breaks just that promise."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.engine import (
    EMPTY_COMPONENT,
    ENGINE,
    EngineSamples,
    engine_subject,
)
from astrid_conformance.fakes import RecordingHostApi
from astrid_conformance.suites import EngineConformance
from astrid_engine_wasm.plugin import _make_engine
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import (
    Call,
    CapsuleSpec,
    ComponentReport,
    Engine,
    EngineEnvironment,
    GuestResult,
    Health,
    HostApi,
    Limits,
    MemoryUse,
    Progress,
    Readiness,
)
from astrid_hookspecs.errors import ComponentError, IntegrityError, UnsupportedActionError
from astrid_hookspecs.values import Principal


class Capsule:
    """An empty capsule that is loaded."""

    def start(self, call: Call) -> None: ...

    def is_run_loop(self) -> bool:
        return False

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        del timeout_s
        return Readiness.READY

    def invoke(self, action: str, payload: bytes, call: Call) -> GuestResult:
        raise UnsupportedActionError(f"{action} {payload!r} {call}")

    def lifecycle(self, phase: str, call: Call) -> bool:
        del phase, call
        return False

    def health(self) -> Health:
        return Health(ok=True)

    def evict(self, principal: Principal) -> None: ...

    def stats(self) -> dict[str, int]:
        return {"calls": 0}

    def memory(self) -> dict[Principal, MemoryUse]:
        return {}

    def unload(self, *, grace_s: float) -> None: ...


class TableEngine:
    """A correct engine that knows two components: the empty one, with or without a section."""

    capsule: type[Any] = Capsule
    known: tuple[bytes, ...] = (EMPTY_COMPONENT, EMPTY_COMPONENT + b"\0\x02\x01x")

    def __init__(self, environment: EngineEnvironment) -> None:
        self.cache_dir = environment.cache_dir

    def inspect(self, component: Path) -> ComponentReport:
        try:
            data = component.read_bytes()
        except OSError as error:
            raise ComponentError(str(error)) from error
        if data not in self.known:
            raise ComponentError("not a component")
        return self.report(data)

    def report(self, data: bytes) -> ComponentReport:
        digest = hashlib.blake2b(data, digest_size=32).hexdigest()
        return ComponentReport(digest, len(data), (), (), *[False] * 4)

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        self.inspect(component)
        if progress is not None:
            progress("compiling", 1.0)

    def forget(self, component_hash: str) -> None:
        del component_hash

    def load(self, spec: CapsuleSpec, host: HostApi) -> Any:
        del host
        assert spec.component is not None
        report = self.inspect(spec.component)
        if spec.component_hash not in (None, report.digest):
            raise IntegrityError("not the installed one")
        return self.capsule()

    def close(self) -> None: ...


class TakesModules(TableEngine):
    def inspect(self, component: Path) -> ComponentReport:
        if component.exists() and component.read_bytes().startswith(b"\0asm\x01"):
            return self.report(b"")
        return super().inspect(component)


class LoadsAnything(TableEngine):
    def load(self, spec: CapsuleSpec, host: HostApi) -> Any:
        del spec, host
        return self.capsule()


class SameDigest(TableEngine):
    def report(self, data: bytes) -> ComponentReport:
        return super().report(data)._replace(digest="0" * 64)


class StrangeProgress(TableEngine):
    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        self.inspect(component)
        if progress is not None:
            progress("compiling", 100.0)


class IgnoresHashes(TableEngine):
    def load(self, spec: CapsuleSpec, host: HostApi) -> Any:
        return super().load(dataclasses.replace(spec, component_hash=None), host)


class AnswersAnything(TableEngine):
    class capsule(Capsule):  # noqa: N801 - replaces the attribute
        def invoke(self, action: str, payload: bytes, call: Call) -> GuestResult:
            del action, payload, call
            return GuestResult("continue", None)


class ForgetsForGood(TableEngine):
    def __init__(self, environment: EngineEnvironment) -> None:
        super().__init__(environment)
        self._gone: set[str] = set()

    def forget(self, component_hash: str) -> None:
        self._gone.add(component_hash)

    def load(self, spec: CapsuleSpec, host: HostApi) -> Any:
        if spec.component_hash in self._gone:
            raise ComponentError("it was forgotten")
        return super().load(spec, host)


class OneAtATime(TableEngine):
    def __init__(self, environment: EngineEnvironment) -> None:
        super().__init__(environment)
        self._busy = threading.Lock()

    def inspect(self, component: Path) -> ComponentReport:
        if not self._busy.acquire(blocking=False):
            raise ComponentError("busy")
        try:
            threading.Event().wait(0.005)
            return super().inspect(component)
        finally:
            self._busy.release()


BROKEN: dict[str, Callable[[EngineEnvironment], Engine]] = {
    "garbage-is-refused": TakesModules,
    "garbage-is-not-loaded": LoadsAnything,
    "a-report-tells-the-truth": SameDigest,
    "preparing-reports-progress-and-can-be-repeated": StrangeProgress,
    "a-changed-component-is-not-loaded": IgnoresHashes,
    "a-capsule-without-hooks-answers-nothing": AnswersAnything,
    "what-is-forgotten-can-be-loaded-again": ForgetsForGood,
    "threads-may-share-it": OneAtATime,
}


def test_every_check_has_a_broken_engine() -> None:
    assert {check.name for check in ENGINE} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_an_engine_that_breaks_it(name: str, tmp_path: Path) -> None:
    result = run_check(ENGINE.named(name), lambda: engine_subject(BROKEN[name], tmp_path))
    assert result.outcome is Outcome.FAILED


def test_the_recording_host_notices_misuse() -> None:
    host = RecordingHostApi({"astrid:kv/host@1.0.0#kv-get": lambda key: key})
    call = Call(Principal("ada"), Limits())
    instance = host.open_instance(Principal("ada"), purpose="call")
    handler = instance.handler("astrid:kv/host@1.0.0", "kv-get")
    assert handler is not None
    assert instance.handler("astrid:kv/host@1.0.0", "kv-other") is None
    instance.enter(call, deadline=None)
    assert handler("key") == "key"
    instance.leave()
    instance.close()
    assert host.misuse == []
    assert host.calls == [("astrid:kv/host@1.0.0#kv-get", ("key",), Principal("ada"))]
    assert isinstance(instance.cancel, CancelToken)
    handler("key")
    instance.leave()
    instance.close()
    instance.enter(call, deadline=None)
    instance.enter(Call(Principal("bob"), Limits()), deadline=None)
    assert host.misuse == [
        "astrid:kv/host@1.0.0#kv-get was called outside of a call",
        "left without a call",
        "closed twice",
        "entered after close",
        "entered after close",
        "entered twice without leaving",
        "entered for bob, opened for ada",
    ]


class TestTableEngine(EngineConformance):
    def make(self, environment: EngineEnvironment) -> Engine:
        return TableEngine(environment)


class TextEngine(TableEngine):
    known = (b"#!expr", b"#!expr ")


class TestEngineOfAnotherLanguage(EngineConformance):
    samples = EngineSamples(
        empty=b"#!expr", same=b"#!expr ", garbage={"a component": EMPTY_COMPONENT, "nothing": b""}
    )

    def make(self, environment: EngineEnvironment) -> Engine:
        return TextEngine(environment)


class TestWasmEngine(EngineConformance):
    def make(self, environment: EngineEnvironment) -> Engine:
        return _make_engine(environment)
