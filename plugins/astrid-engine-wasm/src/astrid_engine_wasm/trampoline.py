"""Host functions as C callbacks: one per imported function and shape, for the whole process.

Trusted with the promise that no Python exception crosses into C and that a guest gets an answer its
shape has. Callbacks are made once and never freed, so no linker or store can outlive one; their
number is bounded by the ABI. Which instance a call belongs to is found by the store's context
address: a store runs on one thread at a time, so nothing here needs a lock.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from astrid_engine_wasm import ffi
from astrid_engine_wasm.marshal import NoAnswerError, Plan, compile_plan
from astrid_engine_wasm.resources import INERT, HandleQuotaError, HandleTable
from astrid_hookspecs.engines import HostInstance, HostTrap, WitError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostFault:
    """Something a host call could not answer as its interface wants.

    Attributes:
        where: `interface#function`, or `[resource-drop]`.
        error: What was raised.
        log_id: Under which the log has the traceback; empty when nothing was logged.
        trapped: Whether the guest was stopped because of it.
    """

    where: str
    error: BaseException
    log_id: str
    trapped: bool


class Target(NamedTuple):
    """Which handler a trampoline calls."""

    interface: str
    function: str

    def __str__(self) -> str:
        return f"{self.interface}#{self.function}"


class _Handlers(dict[Target, Callable[..., Any]]):
    """Handlers of one instance, asked for when first called."""

    def __init__(self, host: HostInstance) -> None:
        super().__init__()
        self._host = host

    def __missing__(self, target: Target) -> Callable[..., Any]:
        handler = self._host.handler(target.interface, target.function)
        if handler is None:
            raise LookupError(f"the kernel has no {target}")
        self[target] = handler
        return handler


class HostFrame:
    """The host side of one store, from before instantiation until it is closed."""

    __slots__ = ("context", "failure", "handlers", "made", "table")

    def __init__(self, context: int, host: HostInstance) -> None:
        self.context = context
        self.handlers = _Handlers(host)
        self.table = HandleTable()
        self.made: list[int] = []
        self.failure: HostFault | None = None


FRAMES: dict[int, HostFrame] = {}
"""By context address."""

_TRAMPOLINES: dict[tuple[Target, str], Any] = {}
_TRAMPOLINES_LOCK = threading.Lock()


def trampoline(interface: str, function: str, signature: str) -> Any:
    """The `ffi.HostCallback` of a host function for one shape; it is kept for good.

    Raises:
        ComponentError: A type of the signature cannot cross.
    """
    target = Target(interface, function)
    with _TRAMPOLINES_LOCK:
        found = _TRAMPOLINES.get((target, signature))
        if found is None:
            found = ffi.HostCallback(_callback(target, compile_plan(signature)))
            _TRAMPOLINES[target, signature] = found
        return found


def _callback(target: Target, plan: Plan) -> Callable[..., int]:
    lifts, lower, takes_handles = plan.lifts, plan.lower, plan.takes_handles

    def call(
        _data: int, context: int, _type: int, arguments: int, _n: int, results: int, _m: int
    ) -> int:
        try:
            frame = FRAMES[context]
            values = [lift(arguments + offset, frame) for lift, offset in lifts]
        except BaseException as error:  # noqa: BLE001 - handles may be half given up: only a trap is safe
            return _trap_unlifted(context, target, error)
        try:
            if takes_handles and _is_stale(values):
                value = plan.stale_answer()
            else:
                value = frame.handlers[target](*values)
            if lower is not None:
                lower(results, value, frame)
                if frame.made:
                    frame.made.clear()
        except BaseException as error:  # noqa: BLE001 - the host-call boundary
            return _settle(frame, target, plan, results, error)
        return 0

    return call


def _is_stale(values: list[object]) -> bool:
    return any(value is INERT or (type(value) is list and INERT in value) for value in values)


def _settle(
    frame: HostFrame, target: Target, plan: Plan, results: int, error: BaseException
) -> int:
    """Turn what a handler raised into an answer or a trap; returns the callback's result."""
    try:
        _discard(frame, plan, results)
        answer = _answer(frame, target, plan, error)
        if plan.lower is not None:
            plan.lower(results, answer, frame)
            frame.made.clear()
    except NoAnswerError as nothing:
        return _trap(frame, str(target), error, str(nothing))
    except HostTrap as trap:
        return _trap(frame, str(target), trap, str(trap))
    except BaseException as second:  # noqa: BLE001 - the host-call boundary
        _discard(frame, plan, results)
        return _trap(frame, str(target), second, f"{target} failed")
    return 0


def _answer(frame: HostFrame, target: Target, plan: Plan, error: BaseException) -> object:
    """The value to answer with.

    Raises:
        NoAnswerError, HostTrap, BaseException: The guest has to be stopped.
    """
    match error:
        case WitError() if plan.can_fail:
            return plan.error_answer(error)
        case HandleQuotaError():
            if not plan.can_fail:
                raise NoAnswerError(str(error))
            return plan.error_answer(WitError("quota"))
        case HostTrap():
            raise error
        case Exception():
            log_id = secrets.token_hex(4)
            _log.error("host call %s failed, log id %s", target, log_id, exc_info=error)
            error.__traceback__ = None  # or the record would keep every frame and its values alive
            frame.failure = HostFault(str(target), error, log_id, trapped=False)
            return plan.unforeseen_answer(f"internal error {log_id}")
    raise error


def _discard(frame: HostFrame, plan: Plan, results: int) -> None:
    """Free a half-written result; the objects behind handles in it are dropped.

    The runtime would run no destructor for them: it leaves host handles to the host.
    """
    made, frame.made = frame.made, []
    for handle in made:
        frame.table.drop(ffi.resource_in(frame.context, handle)[0])
    if plan.lower is not None:
        ffi.value_delete(results)
        ffi.memory[results] = 0


def _trap(frame: HostFrame, where: str, error: BaseException, message: str) -> int:
    previous = frame.failure
    log_id = previous.log_id if previous is not None and previous.error is error else ""
    frame.failure = HostFault(where, error, log_id, trapped=True)
    return ffi.new_error(message)


def _trap_unlifted(context: int, target: Target, error: BaseException) -> int:
    frame = FRAMES.get(context)
    if frame is None:
        return ffi.new_error(f"{target} was called after its instance was closed")
    if isinstance(error, HostTrap):
        return _trap(frame, str(target), error, str(error))
    if isinstance(error, Exception):
        _log.error("arguments of %s could not be read", target, exc_info=error)
    return _trap(frame, str(target), error, f"arguments of {target} could not be read")


def _on_drop(_data: int, context: int, representation: int) -> int:
    """The guest dropped its last handle to a resource. Must not call into the guest."""
    frame = FRAMES.get(context)
    if frame is None:
        return 0
    try:
        frame.table.drop(representation)
    except BaseException as error:  # noqa: BLE001 - the host-call boundary
        return _trap(frame, "[resource-drop]", error, str(error))
    return 0


DESTRUCTOR = ffi.DestructorCallback(_on_drop)
"""Serves every resource type: a representation is unique within its instance."""
