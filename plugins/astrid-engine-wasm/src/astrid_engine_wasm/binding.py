"""Guest and host meet here: trampolines for imports, typed calls of exports.

Trusted with the boundary: no Python exception crosses it, every borrowed handle is given up, what
the runtime frees was allocated by it, and a store is entered by one thread at a time. Permission is
decided by the handlers behind it, never here.

For the engine:

    linker = GuestLinker(engine, component, abi)        # once per component; checks its shape
    guest = linker.instantiate(store, host_instance)    # one store, one instance
    guest.call_hook("action", b"payload")               # -> GuestResult
    guest.call_void("run")
    guest.close()                                       # drops what the guest still holds

`instantiate` and the calls raise `GuestFailure` (see `failure.py`); the store behind it is unusable
afterwards. A busy instance refuses a second entry with an `EngineError` of code `engine.busy`.
`guest.failure` is what a host call recorded last: a handler's unforeseen exception, a deliberate
trap, or an exception that must not be swallowed (an interrupt, a wish to exit), which the call
raises again once the guest is left.

`ffi.configure(config)` sets the engine's switches, `ffi.set_epoch_callback(store, callback)` the
answer to a passed deadline.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from wasmtime import Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker

from astrid_engine_wasm import ffi, layout
from astrid_engine_wasm.failure import Cause, GuestFailure, parse_failure
from astrid_engine_wasm.ffi import memory
from astrid_engine_wasm.gauge import GAUGE
from astrid_engine_wasm.layout import ENTRY_SIZE, ENTRY_VALUE, PAYLOAD, VALUE_SIZE
from astrid_engine_wasm.lift import text_at
from astrid_engine_wasm.lower import BLOCK, borrow_block, return_block, write_bytes
from astrid_engine_wasm.resources import type_number
from astrid_engine_wasm.signature import Accepted, check_exports, check_imports
from astrid_engine_wasm.trampoline import DESTRUCTOR, FRAMES, HostFault, HostFrame, trampoline
from astrid_hookspecs.engines import GuestResult, HostInstance
from astrid_hookspecs.errors import ComponentError, EngineError, UnsupportedActionError

__all__ = ["Cause", "GuestFailure", "GuestInstance", "GuestLinker", "HostFault", "KnownShape"]

HOOK: Final = "astrid-hook-trigger"

_words = struct.Struct("<QQ").unpack_from
_number = struct.Struct("<I").unpack_from
_put_string = struct.Struct("<B7xQQ").pack_into
_ACTION = ENTRY_VALUE + PAYLOAD
_capsule_result = struct.Struct(f"<{_ACTION}xQQ{ENTRY_SIZE - 16}xQ").unpack_from
"""From a record{action: string, data: option<string>}: size and address, address of the option."""


class KnownShape(NamedTuple):
    """Imports and root exports of a component, as checked when it was compiled."""

    accepted: Accepted
    exports: tuple[str, ...]


class GuestLinker:
    """A component whose imports are checked and bound. Any thread may instantiate it.

    Args:
        engine: The engine that compiled the component.
        component: The component.
        abi: The ABI lock, as `EngineEnvironment.abi` describes it.
        known: What an earlier check of this component against this ABI found; None checks now.

    Attributes:
        exports: Root exports of the ABI that the component has.

    Raises:
        ComponentError: An import or export does not fit the ABI.
    """

    def __init__(
        self,
        engine: Engine,
        component: Component,
        abi: Mapping[str, tuple[str, ...]],
        *,
        known: KnownShape | None = None,
    ) -> None:
        if known is None:
            known = KnownShape(
                check_imports(component, engine, abi), tuple(check_exports(component, engine))
            )
        accepted, self.exports = known.accepted, frozenset(known.exports)
        self._component = component
        names = (*self.exports, GAUGE)
        self._indexes = {name: component.get_export_index(name) for name in names}
        self._functions = accepted.functions
        self._verified = False
        self._linker = Linker(engine)
        interfaces = dict.fromkeys(item.interface for item in accepted.functions)
        interfaces.update(dict.fromkeys(name for name, _, _ in accepted.resources))
        with self._linker.root() as root:
            for interface in interfaces:
                with root.add_instance(interface) as instance:
                    for where, name, resource in accepted.resources:
                        if where == interface:
                            number = type_number(resource)
                            ffi.add_resource(
                                instance, name, type_number=number, destructor=DESTRUCTOR
                            )
                    for item in accepted.functions:
                        if item.interface == interface:
                            callback = trampoline(
                                item.host_interface, item.function, item.signature
                            )
                            ffi.add_function(instance, item.function, callback)

    def instantiate(self, store: Store, host_instance: HostInstance) -> GuestInstance:
        """Make the instance of a store. Runs the guest's start functions.

        Args:
            store: A fresh store of the linker's engine, with its limits and deadline set.
            host_instance: Answers the guest's calls; used on the store's thread only.

        Raises:
            GuestFailure: Instantiation failed; the store is unusable.
            EngineError: The store has an instance already.
            ComponentError: The kernel has no handler for one of the imports.
        """
        self._verify(host_instance)
        frame = HostFrame(ffi.context_address(store), host_instance)
        if FRAMES.setdefault(frame.context, frame) is not frame:
            raise EngineError("the store already has an instance", code="engine.busy")
        try:
            instance = ffi.Instance(self._linker, store, self._component)
        except WasmtimeError as error:
            _close(frame)
            raise _failure(frame, str(error)) from error
        except BaseException:
            _close(frame)
            raise
        return GuestInstance(self, store, instance, frame)

    def _verify(self, host: HostInstance) -> None:
        """Ask once for every handler, so that a hole in the kernel shows before a guest runs."""
        if self._verified:
            return
        for item in self._functions:
            if host.handler(item.host_interface, item.function) is None:
                raise ComponentError(
                    f"the kernel has no handler for {item.host_interface}#{item.function}",
                    code="engine.component.import",
                    hint="the installed kernel and engine releases do not fit together",
                )
        self._verified = True

    def export_index(self, name: str) -> Any:
        """The export's index, or None where the component lacks it."""
        return self._indexes.get(name)


def _close(frame: HostFrame) -> None:
    FRAMES.pop(frame.context, None)
    frame.table.close()


def _failure(frame: HostFrame, text: str) -> BaseException:
    """What to raise for an error of the runtime, in the light of what a host call recorded."""
    interrupt = ffi.take_interrupt(frame.context)
    if interrupt is not None:
        return interrupt
    fault = frame.failure
    if fault is None or not fault.trapped:
        return parse_failure(text)
    if not isinstance(fault.error, Exception):
        return fault.error
    failure = GuestFailure(f"{fault.where}: {fault.error}", Cause.HOST, detail=text)
    failure.__cause__ = fault.error
    return failure


@lru_cache(maxsize=512)
def _pinned(text: str) -> tuple[int, int, object]:
    """A string at a fixed address: size, address, and what keeps it there."""
    data = text.encode("utf-8", "replace")
    buffer = ffi.new_buffer(data)
    return len(data), ffi.address_of(buffer), buffer


class GuestInstance:
    """One instance in one store. Entered by one thread at a time; a second entry is refused.

    Made by `GuestLinker.instantiate`. It keeps the store alive until `close`.
    """

    def __init__(
        self, linker: GuestLinker, store: Store, instance: ffi.Instance, frame: HostFrame
    ) -> None:
        self._linker = linker
        self._store: Store | None = store
        self._instance: ffi.Instance | None = instance
        self._frame = frame
        self._entry = threading.Lock()
        self._dead = False
        self._functions: dict[str, Any] = {}
        self._values = ffi.new_values(3)
        self._action = ffi.address_of(self._values)
        self._payload = self._action + VALUE_SIZE
        self._result = self._payload + VALUE_SIZE

    @property
    def failure(self) -> HostFault | None:
        """What a host call of the last entry recorded, if anything."""
        return self._frame.failure

    @property
    def handles(self) -> int:
        """Host objects that the guest holds now."""
        return len(self._frame.table)

    def call_hook(self, action: str, payload: bytes) -> GuestResult:
        """Call `astrid-hook-trigger`.

        Raises:
            UnsupportedActionError: The component does not have it.
            GuestFailure: The guest was stopped.
            EngineError: The instance is busy or closed.
        """
        if not self._entry.acquire(blocking=False):
            raise _busy()
        try:
            function = self._enter(HOOK)
            size, address, _keep = _pinned(action)
            _put_string(memory, self._action, layout.KIND_STRING, size, address)
            if len(payload) > BLOCK:
                return self._call_large(function, payload)
            block = borrow_block(len(payload))
            try:
                if payload:  # an empty slice assignment would resize the buffer
                    stop = len(payload) * VALUE_SIZE
                    block.values[PAYLOAD:stop:VALUE_SIZE] = payload
                _put_string(memory, self._payload, layout.KIND_LIST, len(payload), block.address)
                return self._finish_hook(function)
            finally:
                return_block(block)
        finally:
            self._entry.release()

    def _call_large(self, function: int, payload: bytes) -> GuestResult:
        """As `call_hook`, with an argument array of the C side instead of a kept buffer."""
        ffi.list_new(self._payload + PAYLOAD, len(payload))
        try:
            data = _words(memory, self._payload + PAYLOAD)[1]
            write_bytes(data, payload)
            memory[self._payload] = layout.KIND_LIST
            return self._finish_hook(function)
        finally:
            ffi.list_delete(self._payload + PAYLOAD)

    def _finish_hook(self, function: int) -> GuestResult:
        result = self._result
        error = ffi.func_call(function, self._frame.context, self._action, 2, result, 1)
        if error:
            raise self._stopped(error)
        record = _words(memory, result + PAYLOAD)[1]
        size, address, some = _capsule_result(memory, record)
        action, data = text_at(address, size), None
        if some:
            size, address = _words(memory, some + PAYLOAD)
            data = text_at(address, size)
        ffi.value_delete(result)
        memory[result] = 0  # the next call drops what is here
        return GuestResult(action, data)

    def call_void(self, export_name: str) -> None:
        """Call `run`, `astrid-install` or `astrid-upgrade`.

        Raises:
            UnsupportedActionError: The component does not have it.
            GuestFailure: The guest was stopped.
            EngineError: The instance is busy or closed.
        """
        if export_name == HOOK:
            raise UnsupportedActionError(f"{HOOK} takes arguments")
        if not self._entry.acquire(blocking=False):
            raise _busy()
        try:
            function = self._enter(export_name)
            error = ffi.func_call(function, self._frame.context, self._action, 0, self._result, 0)
            if error:
                raise self._stopped(error)
        finally:
            self._entry.release()

    def memory_pages(self) -> int | None:
        """How large its linear memories are now; None where the component has no gauge.

        Runs none of the guest's code.

        Raises:
            GuestFailure: It was stopped before, or the watch stops it now.
            EngineError: The instance is busy or closed.
        """
        if self._linker.export_index(GAUGE) is None:
            return None
        if not self._entry.acquire(blocking=False):
            raise _busy()
        try:
            function = self._enter(GAUGE)
            error = ffi.func_call(function, self._frame.context, self._action, 0, self._result, 1)
            if error:
                raise self._stopped(error)
            pages = int(_number(memory, self._result + PAYLOAD)[0])
            memory[self._result] = 0
            return pages
        finally:
            self._entry.release()

    def close(self) -> None:
        """Release every host object that the guest still holds and forget the store.

        Raises:
            EngineError: The instance is busy.
        """
        if not self._entry.acquire(blocking=False):
            raise _busy()
        try:
            if self._store is not None:
                self._dead = True
                _close(self._frame)
                self._functions.clear()
                self._instance = self._store = None
        finally:
            self._entry.release()

    def _enter(self, name: str) -> int:
        """The address of an export; the caller holds the entry lock."""
        if self._dead or self._instance is None:
            raise GuestFailure("the instance was stopped before", Cause.DEAD)
        self._frame.failure = None
        function = self._functions.get(name)
        if function is None:
            index = self._linker.export_index(name)
            function = None if index is None else self._instance.function(index)
            if function is None:
                raise UnsupportedActionError(f"the component does not export {name}")
            self._functions[name] = function
        return ffi.address_of(function)

    def _stopped(self, error: int) -> BaseException:
        self._dead = True
        return _failure(self._frame, ffi.take_error(error))


def _busy() -> EngineError:
    return EngineError("the instance is busy with another call", code="engine.busy")
