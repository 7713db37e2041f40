"""Checks for engines that run components: refuse garbage, report truthfully, load and unload.

`astrid_hookspecs.engines`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from astrid_conformance.check import (
    CheckList,
    in_threads,
    require,
    require_equal,
    require_raises,
)
from astrid_conformance.fakes.host_api import RecordingHostApi
from astrid_hookspecs.engines import (
    Call,
    CapsuleSpec,
    Engine,
    EngineEnvironment,
    Limits,
    Readiness,
)
from astrid_hookspecs.errors import ComponentError, EngineError, IntegrityError
from astrid_hookspecs.values import CapsuleId, Principal

EMPTY_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
"""The smallest valid component: it imports and exports nothing."""

_CORE_MODULE: Final = b"\0asm\x01\0\0\0"
_GARBAGE: Final = {
    "an empty file": b"",
    "text": b"this is not a component\n",
    "a header alone": b"\0asm",
    "a core module": _CORE_MODULE,
    "a component of a version that does not exist": b"\0asm\xff\0\x01\0",
    "a component that is cut off": EMPTY_COMPONENT + b"\x01\x80",
    "a component with a broken section": EMPTY_COMPONENT + b"\x0b\xff\xff\xff\xff\x0f",
    "a shared library": b"\x7fELF" + bytes(60),
}


@dataclass(frozen=True)
class EngineSamples:
    """What the checks feed an engine; WebAssembly unless a suite says otherwise.

    Attributes:
        empty: The smallest valid component: it imports and exports nothing.
        same: Other bytes that mean the same.
        garbage: What is no component, by a name for it.
    """

    empty: bytes = EMPTY_COMPONENT
    same: bytes = EMPTY_COMPONENT + b"\0\x02\x01x"  # a custom section
    garbage: Mapping[str, bytes] = field(default_factory=lambda: dict(_GARBAGE))


@dataclass(frozen=True)
class EngineSubject:
    """An engine to check.

    Attributes:
        engine: The engine, with a cache of its own.
        directory: Where to put components; the cache lies beside it.
        samples: What to put there.
    """

    engine: Engine
    directory: Path
    samples: EngineSamples = field(default_factory=EngineSamples)

    def empty(self, *, name: str = "component.wasm") -> Path:
        """A file with the empty component."""
        return self.component(self.samples.empty, name=name)

    def component(self, data: bytes, *, name: str = "component.wasm") -> Path:
        """A file with these bytes."""
        path = self.directory / name
        path.write_bytes(data)
        return path

    def spec(self, component: Path, *, digest: str | None) -> CapsuleSpec:
        """A capsule that consists of the component."""
        return CapsuleSpec(
            id=CapsuleId("conformance"),
            version="1.0.0",
            source_id="11111111-2222-4333-8444-555555555555",
            directory=self.directory,
            component=component,
            component_hash=digest,
        )


@contextlib.contextmanager
def engine_subject(
    factory: Callable[[EngineEnvironment], Engine],
    directory: Path,
    samples: EngineSamples | None = None,
) -> Iterator[EngineSubject]:
    """A subject for one check."""
    cache = directory / "cache"
    capsule = directory / "capsule"
    for path in (cache, capsule):
        path.mkdir(mode=0o700)
    engine = factory(EngineEnvironment(cache_dir=cache, seal_key=bytes(range(32)), abi={}))
    try:
        yield EngineSubject(engine, capsule, samples or EngineSamples())
    finally:
        engine.close()


ENGINE: Final = CheckList[EngineSubject]()
CALL: Final = Call(principal=Principal("ada"), limits=Limits(timeout_s=10.0))


@ENGINE.required
def garbage_is_refused(subject: EngineSubject) -> None:
    """What is no component is a `ComponentError` for `inspect` and `prepare`."""
    for name, data in subject.samples.garbage.items():
        path = subject.component(data)
        require_raises(ComponentError, partial(subject.engine.inspect, path), name)
        require_raises(ComponentError, partial(subject.engine.prepare, path), name)
    absent = subject.directory / "absent.wasm"
    require_raises(ComponentError, lambda: subject.engine.inspect(absent), "an absent file")


@ENGINE.required
def garbage_is_not_loaded(subject: EngineSubject) -> None:
    """What is no component cannot be loaded either, and no instance is opened for it."""
    host = RecordingHostApi()
    for name, data in subject.samples.garbage.items():
        spec = subject.spec(subject.component(data), digest=None)
        require_raises(
            (ComponentError, IntegrityError),
            partial(subject.engine.load, spec, host),
            f"loading {name}",
        )
    require_equal(host.instances, [], "host instances opened for garbage")


@ENGINE.required
def a_report_tells_the_truth(subject: EngineSubject) -> None:
    """The report of an empty component is empty, and its digest belongs to its bytes."""
    report = subject.engine.inspect(subject.empty())
    require(re.fullmatch(r"[0-9a-f]{64}", report.digest), f"digest {report.digest!r}")
    require_equal(report.size_bytes, len(subject.samples.empty), "size_bytes")
    require_equal((report.imports, report.exports), ((), ()), "imports and exports")
    flags = (report.has_hook, report.has_run, report.has_install, report.has_upgrade)
    require_equal(flags, (False,) * 4, "has_hook, has_run, has_install, has_upgrade")
    again = subject.engine.inspect(subject.empty(name="copy.wasm"))
    require_equal(again, report, "the report of a copy")
    other = subject.component(subject.samples.same, name="other.wasm")
    changed = subject.engine.inspect(other)
    require(changed.digest != report.digest, "other bytes have the same digest")


@ENGINE.required
def preparing_reports_progress_and_can_be_repeated(subject: EngineSubject) -> None:
    """`prepare` may be called again and reports sensible progress."""
    seen: list[tuple[str, float | None]] = []

    def progress(step: str, fraction: float | None) -> None:
        seen.append((step, fraction))

    path = subject.empty()
    subject.engine.prepare(path, progress=progress)
    subject.engine.prepare(path)
    for step, fraction in seen:
        require(step, "a step without a name")
        require(fraction is None or 0.0 <= fraction <= 1.0, f"a fraction of {fraction}")


@ENGINE.required
def a_changed_component_is_not_loaded(subject: EngineSubject) -> None:
    """A component that is not the installed one is an `IntegrityError`."""
    path = subject.empty()
    subject.engine.prepare(path)
    spec = subject.spec(path, digest="0" * 64)
    require_raises(
        IntegrityError,
        lambda: subject.engine.load(spec, RecordingHostApi()),
        "loading with another hash",
    )


@ENGINE.required
def a_capsule_without_hooks_answers_nothing(subject: EngineSubject) -> None:
    """A capsule that exports nothing loads, answers no call, runs no hook, and unloads."""
    path = subject.empty()
    report = subject.engine.inspect(path)
    host = RecordingHostApi()
    capsule = subject.engine.load(subject.spec(path, digest=report.digest), host)
    require_equal(host.instances, [], "instances opened while loading")
    require_equal(capsule.is_run_loop(), False, "is_run_loop")
    require_equal(capsule.wait_ready(timeout_s=1.0), Readiness.READY, "wait_ready")
    require_raises(EngineError, lambda: capsule.invoke("tool", b"{}", CALL), "an interceptor call")
    require_equal(capsule.lifecycle("astrid-install", CALL), False, "an install hook")
    require_equal(capsule.health().ok, True, "health")
    require(all(isinstance(count, int) for count in capsule.stats().values()), "stats")
    require_equal(dict(capsule.memory()), {}, "the memory of instances that there never were")
    capsule.evict(Principal("ada"))
    capsule.evict(Principal("nobody"))
    capsule.unload(grace_s=1.0)
    require_equal([i for i in host.instances if not i.closed], [], "instances left open")


@ENGINE.required
def what_is_forgotten_can_be_loaded_again(subject: EngineSubject) -> None:
    """`forget` disturbs no loaded capsule, takes any text, and loses nothing for good."""
    path = subject.empty()
    report = subject.engine.inspect(path)
    spec = subject.spec(path, digest=report.digest)
    capsule = subject.engine.load(spec, RecordingHostApi())
    for text in (report.digest, report.digest, "0" * 64, "", "*", "../other"):
        subject.engine.forget(text)
    require_equal(capsule.health().ok, True, "health of a loaded capsule afterwards")
    capsule.unload(grace_s=1.0)
    subject.engine.load(spec, RecordingHostApi()).unload(grace_s=1.0)


@ENGINE.required
def threads_may_share_it(subject: EngineSubject) -> None:
    """Inspecting and loading from several threads at once gives the same results."""
    path = subject.empty()

    def use() -> object:
        report = subject.engine.inspect(path)
        spec = subject.spec(path, digest=report.digest)
        subject.engine.load(spec, RecordingHostApi()).unload(grace_s=1.0)
        return report

    reports = in_threads(*[use] * 4)
    require(all(report == reports[0] for report in reports), "reports differ between threads")
