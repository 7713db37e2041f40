"""Says in the kernel's words why a guest stopped.

Trusted with wording and classification. What stopped the guest from outside comes from the watch;
everything else is read from the runtime's text, in which a guest chooses the names of its own
functions: a lying guest can at most choose between two error classes for its own failure.

A denied growth of memory is not an event the runtime reports: `memory.grow` answers -1 and the
guest decides. What follows is recognised where tool chains make it recognisable: a trap inside an
allocator or an out-of-memory handler becomes `GuestLimitError`. A guest that gives up in another
way gets a `GuestTrapError` whose hint names the memory limit.

Spec: host-abi 16.4, 16.5.
"""

from __future__ import annotations

import re
from typing import Final

from astrid_engine_wasm.failure import Cause, GuestFailure
from astrid_engine_wasm.messages import clean_message
from astrid_engine_wasm.watch import Stop
from astrid_hookspecs.engines import MIB, HostTrap, Limits
from astrid_hookspecs.errors import (
    EngineError,
    GuestCancelledError,
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
)

_OUT_OF_MEMORY: Final = re.compile(
    r"handle_alloc_error|rust_oom|rg_oom|raw_vec::handle_error|out_of_memory|outofmemory"
    r"|cabi_realloc|NoMemory|memory_exhausted|\boom\b",
    re.IGNORECASE,
)
OUT_OF_MEMORY: Final = "quota_memory"
"""The code of what a guest could not have in memory; other limits have the class's own."""
_UNREACHABLE: Final = "`unreachable` instruction executed"


def explain(
    failure: GuestFailure, *, stop: Stop | None, limits: Limits, timeout_s: float | None
) -> EngineError:
    """The error to raise for a guest that was stopped.

    Args:
        failure: What the runtime reported.
        stop: Why the guest must not go on, None when nothing outside stopped it.
        limits: What the call was allowed.
        timeout_s: The time it was allowed, None for no limit.
    """
    if stop is not None:
        return stopped(stop, timeout_s=timeout_s)
    message = clean_message(failure.detail)
    if failure.trap_code is Cause.LIMIT or _ran_out_of_memory(failure):
        is_memory = failure.trap_code is not Cause.LIMIT or message.startswith("memory ")
        return GuestLimitError(
            f"the guest hit a limit: {message}",
            code=OUT_OF_MEMORY if is_memory else None,
            hint=f"it may use {_size(limits.memory_bytes)}; raise the principal's limit: "
            "astrid quota set --agent NAME --memory SIZE",
        )
    if failure.trap_code is Cause.HOST and not isinstance(failure.__cause__, HostTrap):
        return GuestTrapError(
            "the guest was stopped because a host call failed inside the kernel",
            hint="the log has the details",
        )
    if failure.trap_code is Cause.HOST:
        message = clean_message(failure.message)
    hint = None
    if _UNREACHABLE in message:
        hint = (
            "the guest gave up by itself: a panic, an uncaught error, or no memory left "
            f"(its limit is {_size(limits.memory_bytes)})"
        )
    return GuestTrapError(f"the guest trapped: {message}", hint=hint)


def _size(count: int) -> str:
    return f"{count / MIB:.4g} MiB" if count >= MIB else f"{count} bytes"


def stopped(stop: Stop, *, timeout_s: float | None) -> EngineError:
    """The error to raise for a guest that was stopped, or not entered, for a reason outside it."""
    if stop is Stop.TIMEOUT:
        allowed = "the time for its start" if timeout_s is None else f"{timeout_s:g} s"
        return GuestTimeoutError(
            f"the guest did not finish within {allowed} and was stopped",
            hint="look for an endless loop in the capsule, or raise the principal's limit: "
            "astrid quota set --agent NAME --timeout 2m",
        )
    return GuestCancelledError(f"the guest was stopped: {stop.value}")


def _ran_out_of_memory(failure: GuestFailure) -> bool:
    if failure.trap_code is not Cause.TRAP:
        return False
    return _OUT_OF_MEMORY.search(failure.detail) is not None
