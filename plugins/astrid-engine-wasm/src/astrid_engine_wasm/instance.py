"""One guest instance: its store, its limits, its deadline, and how a call into it ends.

Trusted with containment: guest code runs only between `HostInstance.enter` and `leave`, under the
limits of the call that entered it, and after any failure the instance is never entered again. Used
by one thread at a time; the owner sees to that.

Spec: host-abi 2.1, 16.4, 16.5, 22.4, 22.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from wasmtime import Engine, Store

from astrid_engine_wasm import ffi
from astrid_engine_wasm.binding import GuestFailure, GuestInstance, GuestLinker
from astrid_engine_wasm.footprint import PAGE_BYTES, Footprint, bound_each
from astrid_engine_wasm.ticker import Ticker
from astrid_engine_wasm.verdicts import explain, stopped
from astrid_engine_wasm.watch import Watch
from astrid_hookspecs.engines import Call, GuestResult, HostInstance
from astrid_hookspecs.errors import EngineError, UnsupportedActionError

START_TIMEOUT_S: Final = 300.0
"""For start functions, where the call itself has no or a later deadline. Spec: host-abi 16.4."""
MAX_TABLE_ELEMENTS: Final = 200_000
MAX_CORE_INSTANCES: Final = 1000

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class GuestRuntime:
    """What the instances of one capsule share.

    Attributes:
        engine: The kernel's one engine.
        ticker: Ticks while guests run.
        linker: The component with its imports bound.
        footprint: Memories and tables of one instance.
    """

    engine: Engine
    ticker: Ticker
    linker: GuestLinker
    footprint: Footprint


class Instance:
    """A guest that is made when it is first called.

    Args:
        runtime: Shared with the capsule's other instances.
        host: The kernel's side; closed with the instance.
        on_close: Called when everything is released.

    Attributes:
        host: As given.
        watch: Stops the guest; its methods may be called from any thread.
        is_broken: A call failed; only `close` makes sense now.
        memory_bytes: Size of its linear memories when they were measured last; they never shrink.
    """

    def __init__(
        self,
        runtime: GuestRuntime,
        host: HostInstance,
        *,
        on_close: Callable[[Instance], None] = lambda _instance: None,
    ) -> None:
        self.host = host
        self.watch = Watch(host.cancel)
        self.is_broken = False
        self._runtime = runtime
        self._store: Store | None = None
        self._guest: GuestInstance | None = None
        self._limit_bytes = -1
        self.memory_bytes = 0
        self._on_close = on_close
        self._is_closed = False

    def call_hook(
        self, call: Call, action: str, payload: bytes, *, timeout_s: float | None
    ) -> GuestResult:
        """Call `astrid-hook-trigger`.

        Args:
            call: Whose call it is, its memory limit and its token.
            action: First argument.
            payload: Second argument.
            timeout_s: Time it may take, None for no limit.

        Raises:
            GuestTrapError, GuestTimeoutError, GuestLimitError, GuestCancelledError: It was stopped.
        """
        return self._run(call, timeout_s, None, lambda guest: guest.call_hook(action, payload))

    def call_void(
        self,
        call: Call,
        export: str,
        *,
        timeout_s: float | None,
        host_timeout_s: float | None = None,
    ) -> None:
        """Call `run` or a life-cycle export.

        Args:
            call: As for `call_hook`.
            export: Name of the export.
            timeout_s: As for `call_hook`.
            host_timeout_s: Bound of waits inside host calls, where it differs.

        Raises:
            GuestTrapError, GuestTimeoutError, GuestLimitError, GuestCancelledError: It was stopped.
        """
        self._run(call, timeout_s, host_timeout_s, lambda guest: guest.call_void(export))

    def measure(self) -> int:
        """Bring `memory_bytes` up to date, as far as it can be known; returns it.

        For the owner of the instance, while no call runs.
        """
        if self._guest is not None and not self.is_broken:
            self.watch.start(deadline=None, cancel=None)
            try:
                pages = self._guest.memory_pages()
            except (GuestFailure, EngineError):  # it is being stopped: what was known stays
                pages = None
            self.memory_bytes = max(self.memory_bytes, (pages or 0) * PAGE_BYTES)
        return self.memory_bytes

    def close(self) -> None:
        """Release the guest's handles, its store and the kernel's side. Closing twice is fine.

        Every step happens, whatever the others do.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self.measure()
        guest, self._guest = self._guest, None
        store, self._store = self._store, None
        self.is_broken = True
        try:
            if guest is not None:
                guest.close()
        finally:
            try:
                if store is not None:
                    store.close()
            finally:
                try:
                    self.host.close()
                finally:
                    self._on_close(self)

    def _run(
        self,
        call: Call,
        timeout_s: float | None,
        host_timeout_s: float | None,
        action: Callable[[GuestInstance], _Value],
    ) -> _Value:
        now = time.monotonic()
        deadline = None if timeout_s is None else now + timeout_s
        waits = deadline if host_timeout_s is None else now + host_timeout_s
        self.watch.start(deadline=deadline, cancel=call.cancel)
        self.host.enter(call, deadline=waits)
        try:
            return self._enter(call, timeout_s, action)
        finally:
            self.host.leave()

    def _enter(
        self, call: Call, timeout_s: float | None, action: Callable[[GuestInstance], _Value]
    ) -> _Value:
        stop = self.watch.verdict()
        if stop is not None:
            raise stopped(stop, timeout_s=timeout_s)
        ticker = self._runtime.ticker
        ticker.enter()
        try:
            return action(self._prepared(call.limits.memory_bytes))
        except GuestFailure as failure:
            self.is_broken = True
            stop = self.watch.stop or self.watch.verdict()
            raise explain(failure, stop=stop, limits=call.limits, timeout_s=timeout_s) from failure
        except UnsupportedActionError:
            raise
        except BaseException:
            self.is_broken = True
            raise
        finally:
            ticker.leave()

    def _prepared(self, memory_bytes: int) -> GuestInstance:
        """The guest, made on first use, with the memory limit of this call."""
        store = self._store
        if store is None:
            store = self._store = Store(self._runtime.engine)
            ffi.set_epoch_callback(store, self.watch.check)
            store.set_epoch_deadline(1)
        if memory_bytes != self._limit_bytes:
            self._set_limits(store, memory_bytes)
        if self._guest is None:
            deadline = self.watch.deadline
            latest = time.monotonic() + START_TIMEOUT_S
            self.watch.deadline = latest if deadline is None else min(deadline, latest)
            self._guest = self._runtime.linker.instantiate(store, self.host)
            self.watch.deadline = deadline
            self.memory_bytes = self._runtime.footprint.least_bytes
        return self._guest

    def _set_limits(self, store: Store, memory_bytes: int) -> None:
        """Bound each memory and table so that their sums hold. Spec: host-abi 16.4, 22.5."""
        memories, tables = self._runtime.footprint
        store.set_limits(
            memory_size=bound_each(memories, limit=memory_bytes),
            table_elements=bound_each(tables, limit=MAX_TABLE_ELEMENTS),
            instances=MAX_CORE_INSTANCES,
            tables=tables.total(),
            memories=memories.total(),
        )
        self._limit_bytes = memory_bytes
