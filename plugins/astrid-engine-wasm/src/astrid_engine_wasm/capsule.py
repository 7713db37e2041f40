"""A loaded capsule: sends each call to the right instance and stops everything at unload.

Trusted with isolation between principals and with the promise that after `unload` no guest code of
the capsule runs and nothing is held. It decides nothing about permission.

Spec: capsules-and-bus 5.6, 5.9; host-abi 16.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Final, Literal

from astrid_engine_wasm import lifecycle
from astrid_engine_wasm.instance import GuestRuntime, Instance
from astrid_engine_wasm.lifecycle import PromptingHost
from astrid_engine_wasm.peaks import MemoryPeaks
from astrid_engine_wasm.run_loop import Outcome, RunLoop
from astrid_engine_wasm.slots import InstancePool, Slot, SlotTable
from astrid_hookspecs.engines import (
    Call,
    CapsuleSpec,
    ComponentReport,
    GuestResult,
    Health,
    HostApi,
    HostInstance,
    MemoryUse,
    Readiness,
)
from astrid_hookspecs.errors import (
    AstridError,
    EngineError,
    GuestCancelledError,
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
    UnsupportedActionError,
)
from astrid_hookspecs.values import Principal

_log = logging.getLogger(__name__)

FORCE_TIMEOUT_S: Final = 30.0
"""After force was used, how long a host call may take to come back before unload gives up."""
_LOCK_POLL_S: Final = 0.05

_COUNTED: Final[tuple[tuple[type[AstridError], str], ...]] = (
    (GuestTrapError, "traps"),
    (GuestTimeoutError, "timeouts"),
    (GuestLimitError, "limits"),
    (GuestCancelledError, "cancelled"),
)


class WasmCapsule:
    """Implements `LoadedCapsule`; see there for the contract of each method.

    Args:
        spec: What was loaded.
        host: The kernel's side.
        runtime: The linked component.
        report: What the component has.
        pool: Bounds the instances of all capsules together.
    """

    def __init__(
        self,
        spec: CapsuleSpec,
        host: HostApi,
        *,
        runtime: GuestRuntime,
        report: ComponentReport,
        pool: InstancePool,
    ) -> None:
        self._spec = spec
        self._host = host
        self._runtime = runtime
        self._report = report
        self._slots = SlotTable(pool)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._live: dict[Instance, Principal] = {}
        self._memory = MemoryPeaks()
        self._active = 0
        self._calls = 0
        self._stops: Counter[str] = Counter()
        self._is_unloading = False
        self._runs = spec.run_class == "run" or (spec.run_class == "auto" and report.has_run)
        self._is_started = False
        self._started = threading.Event()
        self._run_loop: RunLoop | None = None

    def start(self, call: Call) -> None:
        """Start the run loop, if the capsule has one; a second start does nothing.

        Raises:
            GuestCancelledError: The capsule is being unloaded.
        """
        with self._lock:
            if not self._runs or self._is_started:
                return
            self._is_started = True
            self._active += 1
        try:
            host = self._host.open_instance(call.principal, purpose="run")
            with ExitStack() as undo:
                instance = undo.enter_context(closing(self._open(host, call.principal)))
                loop = RunLoop(
                    name=self._spec.id, instance=instance, call=call, on_end=self._run_loop_ended
                )
                loop.start()
                undo.pop_all()  # the loop closes it
        except BaseException:
            self._is_started = False
            self._leave()
            raise
        self._run_loop = loop
        self._started.set()

    def is_run_loop(self) -> bool:
        """Whether a run loop is, or will be, running."""
        return self._runs

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        """Wait for the run loop's signal; READY at once without one."""
        if not self._runs:
            return Readiness.READY
        deadline = time.monotonic() + timeout_s
        if not self._started.wait(timeout_s) or self._run_loop is None:
            return Readiness.TIMEOUT
        return self._run_loop.wait_ready(timeout_s=max(0.0, deadline - time.monotonic()))

    def invoke(self, action: str, payload: bytes, call: Call) -> GuestResult:
        """Call `astrid-hook-trigger` on the instance of the call's principal.

        Raises:
            UnsupportedActionError: A run-loop capsule, or one that was unloaded.
            EngineError: `engine.no-hook`: the component lacks the export.
            GuestTrapError, GuestTimeoutError, GuestLimitError, GuestCancelledError: It was stopped.
        """
        if self._runs:
            raise UnsupportedActionError(
                f"{self._spec.id} has a run loop, which keeps its instance busy"
            )
        if not self._report.has_hook:
            raise EngineError(
                f"{self._spec.id} does not export astrid-hook-trigger",
                code="engine.no-hook",
                hint="export it, or remove the handlers from the manifest",
            )
        timeout_s = None if self._spec.is_daemon else call.limits.timeout_s
        self._enter()
        try:
            if self._spec.state == "fresh":
                host = self._host.open_instance(call.principal, purpose="call")
                with closing(self._open(host, call.principal)) as instance:
                    return instance.call_hook(call, action, payload, timeout_s=timeout_s)
            slot = self._take_slot(call)
            try:
                instance = slot.instance or self._fill(slot)
                return instance.call_hook(call, action, payload, timeout_s=timeout_s)
            finally:
                self._return_slot(slot)
        except AstridError as error:
            self._count(error)
            raise
        finally:
            self._leave()

    def lifecycle(self, phase: Literal["astrid-install", "astrid-upgrade"], call: Call) -> bool:
        """Run a life-cycle export in a temporary instance; False when there is none.

        Raises:
            GuestTrapError, GuestTimeoutError, GuestLimitError, GuestCancelledError: It was stopped.
        """
        has_it = self._report.has_install if phase == "astrid-install" else self._report.has_upgrade
        if not has_it:
            return False
        limited = Call(call.principal, lifecycle.LIMITS, call.caller, call.cancel)
        self._enter()
        try:
            host = PromptingHost(self._host.open_instance(call.principal, purpose="lifecycle"))
            with closing(self._open(host, call.principal)) as instance:
                host.watch = instance.watch
                instance.call_void(
                    limited,
                    phase,
                    timeout_s=lifecycle.TIMEOUT_S,
                    host_timeout_s=lifecycle.HOST_TIMEOUT_S,
                )
        except AstridError as error:
            self._count(error)
            raise
        finally:
            self._leave()
        return True

    def health(self) -> Health:
        """Whether the capsule works now."""
        if self._is_unloading:
            return Health(ok=False, reason="unloaded")
        return Health(ok=True) if self._run_loop is None else self._run_loop.health()

    def evict(self, principal: Principal) -> None:
        """Drop the idle instance of a principal; a busy one when its call ends."""
        self._slots.evict(principal)

    def stats(self) -> Mapping[str, int]:
        """Counters: instances, calls, traps, timeouts, limits, cancelled, evictions, active."""
        with self._lock:
            return {
                "instances": len(self._live),
                "active": self._active,
                "calls": self._calls,
                **{name: self._stops[name] for _, name in _COUNTED},
                "evictions": self._slots.evictions,
            }

    def memory(self) -> Mapping[Principal, MemoryUse]:
        """Linear memories of each principal's instances; those of a running call as last known."""
        self._slots.measure()
        with self._lock:
            found = [(principal, one.memory_bytes) for one, principal in self._live.items()]
            return self._memory.with_live(found)

    def unload(self, *, grace_s: float) -> None:
        """Stop everything; returns when no guest code runs and nothing is held.

        Raises:
            EngineError: `engine.unload-stuck`: a host call did not come back.
        """
        with self._lock:
            self._is_unloading = True
            live = list(self._live)
            for instance in live:
                instance.watch.begin_grace()
        for instance in live:
            instance.host.cancel.fire()
        try:
            self._stop_active(grace_s)
        finally:
            self._slots.clear()  # of everybody but the call that is stuck, which goes when it ends

    def _stop_active(self, grace_s: float) -> None:
        """Wait until no call and no run loop is left.

        Raises:
            EngineError: As `unload`.
        """
        if not self._wait_idle(grace_s):
            self._force()
            if not self._wait_idle(FORCE_TIMEOUT_S):
                raise EngineError(
                    f"{self._spec.id} cannot be unloaded: a host call does not come back",
                    code="engine.unload-stuck",
                )
        if self._run_loop is not None:
            self._run_loop.join(timeout_s=FORCE_TIMEOUT_S)

    def _force(self) -> None:
        """Stop guests that compute: at the next tick, which comes at once."""
        with self._lock:
            for instance in self._live:
                instance.watch.force()
        self._runtime.engine.increment_epoch()

    def _wait_idle(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._active == 0, timeout_s)

    def _run_loop_ended(
        self, instance: Instance, outcome: Outcome, error: AstridError | None
    ) -> None:
        """The run loop's guest is gone; called on its thread."""
        if outcome is Outcome.EARLY_RETURN:
            self._runs = False
        if error is not None:
            self._count(error)
            if not self._is_unloading:
                _log.warning("run loop of %s stopped: %s", self._spec.id, error.message)
        try:
            instance.close()
        finally:
            self._leave()

    def _enter(self) -> None:
        """Refuse calls of an unloaded capsule; unload waits for the others to `_leave`."""
        with self._lock:
            if self._is_unloading:
                raise UnsupportedActionError(f"{self._spec.id} is unloaded")
            self._active += 1
            self._calls += 1

    def _leave(self) -> None:
        with self._lock:
            self._active -= 1
            if self._is_unloading:
                self._changed.notify_all()

    def _count(self, error: AstridError) -> None:
        for kind, name in _COUNTED:
            if isinstance(error, kind):
                with self._lock:
                    self._stops[name] += 1

    def _take_slot(self, call: Call) -> Slot:
        """The slot of the call's principal, locked.

        Waits for the principal's previous call, as long as this one is still wanted.

        Raises:
            GuestCancelledError: It is not.
        """
        while True:
            slot = self._slots.get(call.principal)
            while not slot.lock.acquire(blocking=False) and not slot.lock.acquire(
                timeout=_LOCK_POLL_S
            ):
                if self._is_unloading or (call.cancel is not None and call.cancel.is_fired):
                    raise GuestCancelledError("the call was cancelled while it waited for its turn")
            if not slot.is_dead:
                return slot
            slot.lock.release()

    def _return_slot(self, slot: Slot) -> None:
        """End the use of a slot; a broken instance goes."""
        instance = slot.instance
        if instance is not None and instance.is_broken:
            slot.instance = None
            instance.close()
        self._slots.release(slot)

    def _fill(self, slot: Slot) -> Instance:
        """Make the instance of a locked slot."""
        host = self._host.open_instance(slot.principal, purpose="call")
        slot.instance = instance = self._open(host, slot.principal)
        return instance

    def _open(self, host: HostInstance, principal: Principal) -> Instance:
        """Make an instance that unload knows.

        Raises:
            GuestCancelledError: The capsule is being unloaded.
        """
        instance = Instance(self._runtime, host, on_close=self._forget)
        with self._lock:
            if not self._is_unloading:
                self._live[instance] = principal
                return instance
        instance.close()
        raise GuestCancelledError(f"{self._spec.id} is being unloaded")

    def _forget(self, instance: Instance) -> None:
        """An instance is closed."""
        with self._lock:
            principal = self._live.pop(instance, None)
            if principal is not None:
                self._memory.note(principal, instance.memory_bytes)
