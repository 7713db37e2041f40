"""The WebAssembly engine: inspects, compiles ahead of time and loads components.

Trusted with guest code and nothing else; see `astrid_hookspecs.engines`. One wasmtime engine, one
ticker, one compiling helper and one cache for the whole kernel.

It does not bound how many guests run at once: a guest that waits in a host call would keep its
permit while the guest it waits for needs one. The kernel's worker pool is that bound.

Spec: capsules-and-bus 5.3; host-abi 16.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from astrid_engine_wasm import runtime
from astrid_engine_wasm.aot import ArtefactCache
from astrid_engine_wasm.binding import GuestLinker, KnownShape
from astrid_engine_wasm.capsule import WasmCapsule
from astrid_engine_wasm.compiler import Compiler
from astrid_engine_wasm.instance import GuestRuntime
from astrid_engine_wasm.prepare import Preparer
from astrid_engine_wasm.slots import InstancePool
from astrid_engine_wasm.ticker import Ticker
from astrid_hookspecs.engines import (
    CapsuleSpec,
    ComponentReport,
    EngineEnvironment,
    HostApi,
    LoadedCapsule,
    Progress,
)
from astrid_hookspecs.errors import ComponentError, EngineError

_log = logging.getLogger(__name__)

MAX_RUN_LOOP_BINDINGS: Final = 64
"""Spec: capsules-and-bus 5.3 step 24."""


class WasmEngine:
    """Implements `Engine` for components; see there for the contract of each method.

    Args:
        environment: From the kernel.
    """

    def __init__(self, environment: EngineEnvironment) -> None:
        self._abi = environment.abi
        self._engine = runtime.make_engine()
        self._cache = ArtefactCache(
            environment.cache_dir,
            secret=environment.seal_key,
            fingerprint=runtime.fingerprint(environment.abi),
        )
        self._compiler = Compiler(abi=environment.abi)
        self._preparer = Preparer(self._cache, self._compiler)
        self._ticker = Ticker(self._engine.increment_epoch)
        self._pool = InstancePool()
        self._closed = threading.Event()

    def inspect(self, component: Path) -> ComponentReport:
        """Read and check a component without running it; compiles it into the cache.

        Raises:
            ComponentError: It could not be loaded; says why and what to do.
        """
        self._check_open()
        return self._preparer.facts(component).report

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        """Compile ahead of time; does nothing when it is done.

        Raises:
            ComponentError: As `inspect`.
        """
        self._check_open()
        self._preparer.facts(component, progress=progress)

    def load(self, spec: CapsuleSpec, host: HostApi) -> LoadedCapsule:
        """Make a capsule ready for calls.

        Raises:
            ComponentError: It cannot be loaded.
            IntegrityError: The component is not the one that was installed.
        """
        self._check_open()
        if spec.component is None:
            raise ComponentError(f"{spec.id} has no component", code="engine.component.missing")
        facts, component = self._preparer.load(
            self._engine, spec.component, expected=spec.component_hash
        )
        _check_class(spec, facts.report)
        shape = KnownShape(facts.accepted, facts.report.exports)
        linker = GuestLinker(self._engine, component, self._abi, known=shape)
        return WasmCapsule(
            spec,
            host,
            runtime=GuestRuntime(self._engine, self._ticker, linker, facts.footprint),
            report=facts.report,
            pool=self._pool,
        )

    def forget(self, component_hash: str) -> None:
        """Remove the compiled form of a component from the cache."""
        self._cache.forget(component_hash)

    def close(self) -> None:
        """Stop the helper process and the ticker, tidy the cache. Closing twice is fine."""
        if not self._closed.is_set():
            self._cache.tidy()
        self._closed.set()
        self._compiler.close()
        self._ticker.close()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise EngineError("the engine is closed", code="engine.closed")


def _check_class(spec: CapsuleSpec, report: ComponentReport) -> None:
    """Refuse what cannot work, warn about what will not. Spec: host-abi 16.2.

    The handlers of a run loop are no problem: the host subscribes to their topics.
    """
    if spec.run_class == "run" and "run" not in report.exports:
        raise ComponentError(
            f"{spec.id} is declared as a run loop but its component does not export run",
            code="engine.component.no-run",
            hint="export run, or remove the class from the manifest",
        )
    runs = spec.run_class == "run" or (spec.run_class == "auto" and report.has_run)
    if runs and len(spec.bindings) > MAX_RUN_LOOP_BINDINGS:
        raise ComponentError(
            f"{spec.id} has a run loop and {len(spec.bindings)} handlers; "
            f"at most {MAX_RUN_LOOP_BINDINGS} are possible",
            code="engine.component.bindings",
            hint="subscribe inside the run loop, or declare the capsule as call-driven",
        )
    if not (runs or report.has_hook):
        _log.warning("%s exports neither run nor astrid-hook-trigger", spec.id)
