"""Engines for tests of what the kernel makes of any engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from astrid_hookspecs import hookimpl
from astrid_hookspecs.engines import (
    Call,
    CapsuleSpec,
    ComponentReport,
    Engine,
    EngineEnvironment,
    EngineRecord,
    GuestResult,
    Health,
    HostApi,
    LoadedCapsule,
    MemoryUse,
    Progress,
    Readiness,
)
from astrid_hookspecs.errors import ComponentError
from astrid_hookspecs.values import Principal


def choose_sibling(home: Path) -> None:
    """Make a home that prefers `SiblingEngine` to the engine that is installed."""
    (home / "etc").mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    (home / "etc" / "config.toml").write_text('[engines]\nmcp_server = "sibling"\n')


class SiblingEngine:
    """Serves `mcp_server` entries the way an engine of processes would; one object is all of it.

    Attributes:
        asked: Actions of the calls that reached it.
        stopped: How often a capsule of it was unloaded.
        is_well: What it says about its health.
        load_error: Raised by every load.
        start_error: Raised by every start.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stopped = 0
        self.is_well = True
        self.load_error: Exception | None = None
        self.start_error: Exception | None = None

    @hookimpl
    def astrid_register_engines(self) -> Iterable[EngineRecord]:
        return [EngineRecord("sibling", frozenset({"mcp_server"}), self._made)]

    def _made(self, _environment: EngineEnvironment) -> Engine:
        return self

    def inspect(self, component: Path) -> ComponentReport:
        raise ComponentError(f"{component.name} is not for this engine")

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        del progress
        self.inspect(component)

    def forget(self, component_hash: str) -> None:
        del component_hash

    def load(self, _spec: CapsuleSpec, _host: HostApi) -> LoadedCapsule:
        if self.load_error is not None:
            raise self.load_error
        return self

    def close(self) -> None:
        pass

    def start(self, _call: Call) -> None:
        if self.start_error is not None:
            raise self.start_error

    def is_run_loop(self) -> bool:
        return False

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        del timeout_s
        return Readiness.READY

    def invoke(self, action: str, _payload: bytes, _call: Call) -> GuestResult:
        self.asked.append(action)
        return GuestResult("deny", "says the sibling")

    def lifecycle(self, _phase: str, _call: Call) -> bool:
        return False

    def health(self) -> Health:
        return Health(ok=self.is_well, reason="" if self.is_well else "its process is gone")

    def evict(self, _principal: Principal) -> None:
        pass

    def stats(self) -> dict[str, int]:
        return {}

    def memory(self) -> dict[Principal, MemoryUse]:
        return {}

    def unload(self, *, grace_s: float) -> None:
        del grace_s
        self.stopped += 1
