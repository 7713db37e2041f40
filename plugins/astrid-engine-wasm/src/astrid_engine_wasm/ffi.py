"""Raw access to wasmtime's C API: addresses and entry points that the wrapper hides.

Trusted with memory safety: every address that is read or written by the binding layer was handed
out by this library or by an object that the caller keeps alive. Only this module and `layout`
touch `wasmtime._ffi`. Importing this one checks the wrapper's version and layouts, so that an
unexpected release is an error and not a crash.

Small C functions are called with the interpreter lock held (`PYFUNCTYPE`): giving it up and taking
it back costs more than they do, and with a busy neighbour thread a switch interval. Only what
runs guest code releases it.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import weakref
from collections.abc import Callable
from typing import Any, Final, cast

from wasmtime import Config, Store, WasmtimeError, _ffi
from wasmtime.component import Component, Linker, LinkerInstance, ResourceType

from astrid_engine_wasm.layout import check_layout, check_version
from astrid_hookspecs.errors import EngineError

_SPACE = 1 << 48
memory: Final = memoryview((ctypes.c_ubyte * _SPACE).from_address(0)).cast("B")
"""The address space as bytes: `memory[address]`, `struct.unpack_from(memory, address)`.

Nothing is allocated or mapped by it; reading through it costs a third of a ctypes object.
"""
bytes_at: Final = cast("Callable[[int], bytes]", (ctypes.c_char * _SPACE).from_address)
"""`bytes_at(address)[8:n:32]` copies every 32nd byte, ten times faster than a memoryview does."""


check_version(importlib.metadata.version("wasmtime"))
check_layout()

_P, _N, _U32 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32


def _entry(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    prototype: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)
    entry: Callable[..., Any] = prototype((name, _ffi.dll))
    return entry


func_call: Final[Callable[[int, int, int, int, int, int], int | None]] = ctypes.CFUNCTYPE(
    _P, _P, _P, _P, _N, _P, _N
)(("wasmtime_component_func_call", _ffi.dll))
"""(function, context, arguments, count, results, count) -> error or None. Releases the lock."""

_instantiate: Final[Callable[[int, int, int, int], int | None]] = ctypes.CFUNCTYPE(
    _P, _P, _P, _P, _P
)(("wasmtime_component_linker_instantiate", _ffi.dll))

byte_vec_new: Final = _entry("wasm_byte_vec_new", None, _P, _N, _P)
"""(out, size, bytes): copies into a new allocation that the callee of a result frees."""
list_new: Final = _entry("wasmtime_component_vallist_new_uninit", None, _P, _N)
"""(out, size): `size` values, each a valid `bool`; so a half-filled list can always be freed."""
list_delete: Final = _entry("wasmtime_component_vallist_delete", None, _P)
record_new: Final = _entry("wasmtime_component_valrecord_new_uninit", None, _P, _N)
tuple_new: Final = _entry("wasmtime_component_valtuple_new_uninit", None, _P, _N)
flags_new: Final = _entry("wasmtime_component_valflags_new_uninit", None, _P, _N)
value_delete: Final = _entry("wasmtime_component_val_delete", None, _P)

_box_new = _entry("wasmtime_component_val_new", _P, _P)
_blank = _ffi.wasmtime_component_val_t()
_BLANK_ADDRESS: Final = ctypes.addressof(_blank)


def box_new() -> int:
    """Allocate one value on the C side, a valid `bool` until it is written."""
    return int(_box_new(_BLANK_ADDRESS))


_error_new = _entry("wasmtime_error_new", _P, ctypes.c_char_p)
_error_message = _entry("wasmtime_error_message", None, _P, _P)
_error_delete = _entry("wasmtime_error_delete", None, _P)


def new_error(message: str) -> int:
    """Make an error that a callback returns to trap the guest with `message`."""
    text = message.replace("\0", " ").encode("utf-8", "replace")
    return int(_error_new(text))


def take_error(error: int) -> str:
    """Read and free an error that the C API returned."""
    text = _ffi.wasm_byte_vec_t()
    _error_message(error, ctypes.addressof(text))
    message = _ffi.to_bytes(text).decode("utf-8", "replace")
    _ffi.wasm_byte_vec_delete(ctypes.byref(text))
    _error_delete(error)
    return message


_any_to_host = _entry("wasmtime_component_resource_any_to_host", _P, _P, _P, _P)
_host_to_any = _entry("wasmtime_component_resource_host_to_any", _P, _P, _P, _P)
_host_new = _entry("wasmtime_component_resource_host_new", _P, ctypes.c_bool, _U32, _U32)
_host_rep = _entry("wasmtime_component_resource_host_rep", _U32, _P)
_host_type = _entry("wasmtime_component_resource_host_type", _U32, _P)
_host_delete = _entry("wasmtime_component_resource_host_delete", None, _P)


def resource_in(context: int, handle: int) -> tuple[int, int]:
    """Give up a handle that the host holds, own or borrow; must happen exactly once for each.

    Returns:
        The representation and the number of the resource type.

    Raises:
        RuntimeError: The handle is not one of a host resource.
    """
    slot = ctypes.c_void_p()
    error = _any_to_host(context, handle, ctypes.addressof(slot))
    if error:
        raise RuntimeError(take_error(error))
    host = slot.value
    found = (int(_host_rep(host)), int(_host_type(host)))
    _host_delete(host)
    return found


def resource_out(context: int, representation: int, type_number: int) -> int:
    """Make an owned handle that a result carries to the guest; returns its address.

    Raises:
        RuntimeError: The store has no room for another handle.
    """
    slot = ctypes.c_void_p()
    host = _host_new(True, representation, type_number)
    error = _host_to_any(context, host, ctypes.addressof(slot))
    _host_delete(host)
    if error:
        raise RuntimeError(take_error(error))
    return int(slot.value or 0)


HostCallback = ctypes.CFUNCTYPE(_N, _P, _P, _P, _P, _N, _P, _N)
"""(data, context, type, arguments, count, results, count) -> error address or 0."""
DestructorCallback = ctypes.CFUNCTYPE(_N, _P, _P, _U32)
"""(data, context, representation) -> error address or 0."""
_EPOCH_CALLBACK = ctypes.CFUNCTYPE(_N, _P, _P, _P, _P)
_set_epoch_callback = _entry("wasmtime_store_epoch_deadline_callback", None, _P, _P, _P, _P)

_add_func = _entry("wasmtime_component_linker_instance_add_func", _P, _P, _P, _N, _P, _P, _P)
_add_resource = _entry(
    "wasmtime_component_linker_instance_add_resource", _P, _P, _P, _N, _P, _P, _P, _P
)


def _address(pointer: Any) -> int:
    return int(ctypes.cast(pointer, ctypes.c_void_p).value or 0)


def add_function(instance: LinkerInstance, name: str, callback: Any) -> None:
    """Define one function of an imported interface.

    Args:
        instance: The interface's linker instance.
        name: The function's name.
        callback: A `HostCallback`; must outlive every store that uses the linker.

    Raises:
        WasmtimeError: The name is taken.
    """
    text = name.encode()
    _check(_add_func(_address(instance.ptr()), text, len(text), _address(callback), None, None))


def add_resource(instance: LinkerInstance, name: str, *, type_number: int, destructor: Any) -> None:
    """Define one resource type; `destructor` must outlive every store that uses the linker.

    Raises:
        WasmtimeError: The name is taken.
    """
    text, kind = name.encode(), ResourceType.host(type_number)
    where, what = _address(instance.ptr()), _address(kind.ptr())
    _check(_add_resource(where, text, len(text), what, _address(destructor), None, None))


def _check(error: int | None) -> None:
    if error:
        raise WasmtimeError(take_error(error))


def context_address(store: Store) -> int:
    """The key by which callbacks know a store."""
    return _address(_ffi.wasmtime_store_context(store.ptr()))


class Instance:
    """An instantiated component: finds exported functions.

    Raises:
        WasmtimeError: Instantiation failed or a start function trapped.
    """

    def __init__(self, linker: Linker, store: Store, component: Component) -> None:
        self._store = store
        self._raw = _ffi.wasmtime_component_instance_t()
        context, raw = context_address(store), ctypes.addressof(self._raw)
        _check(_instantiate(_address(linker.ptr()), context, _address(component.ptr()), raw))

    def function(self, index: Any) -> Any | None:
        """The function behind an export index; keep the object, `address_of` gives its address."""
        raw = _ffi.wasmtime_component_func_t()
        context = _ffi.wasmtime_store_context(self._store.ptr())
        found = _ffi.wasmtime_component_instance_get_func(
            ctypes.byref(self._raw), context, index.ptr(), ctypes.byref(raw)
        )
        return raw if found else None


def address_of(structure: Any) -> int:
    """Where a structure of this module lives, as long as the caller keeps it."""
    return ctypes.addressof(structure)


def new_buffer(data: bytes) -> Any:
    """A copy of `data` at an address of its own; never empty, so the address is real."""
    return ctypes.create_string_buffer(data, len(data) + 1)


def new_values(count: int) -> Any:
    """A zeroed array of values that Python owns; zero is a valid `bool`."""
    return (_ffi.wasmtime_component_val_t * count)()


_INTERRUPTS: dict[int, BaseException] = {}


def take_interrupt(context: int) -> BaseException | None:
    """What a deadline callback of this store raised and the call into the guest has to raise."""
    return _INTERRUPTS.pop(context, None)


_EPOCH_CALLBACKS: weakref.WeakKeyDictionary[Store, Any] = weakref.WeakKeyDictionary()


def set_epoch_callback(store: Store, callback: Callable[[], tuple[str, int] | str]) -> None:
    """Ask `callback` what to do each time the store's epoch deadline passes.

    Args:
        store: The store; the callback is kept alive with it.
        callback: Called on the guest's thread without arguments. Returns `("continue", ticks)` to
            go on for that many ticks, or the message of the trap that stops the guest. An
            exception also stops the guest; one that must not be swallowed (an operator's
            interrupt arrives here when the guest runs on the main thread) is kept for
            `take_interrupt`.

    Spec: host-abi 22.4.
    """

    def on_deadline(context: int, _data: int, delta: int, kind: int) -> int:
        try:
            answer = callback()
            if isinstance(answer, str):
                return new_error(answer)
            ctypes.c_uint64.from_address(delta).value = answer[1]
            memory[kind] = 0
        except BaseException as error:  # noqa: BLE001 - nothing may cross into C
            if not isinstance(error, Exception):
                _INTERRUPTS[context] = error
            return new_error(f"deadline check failed: {type(error).__name__}")
        return 0

    raw = _EPOCH_CALLBACK(on_deadline)
    _set_epoch_callback(_address(store.ptr()), _address(raw), None, None)
    _EPOCH_CALLBACKS[store] = raw


SWITCHES: Final[dict[str, bool]] = {
    "concurrency_support": False,
    "wasm_component_model_async": False,
    "wasm_component_model_more_async_builtins": False,
    "wasm_component_model_async_stackful": False,
    "wasm_component_model_map": False,
    "wasm_component_model_implements": False,
    "wasm_component_model_canonical_names": False,
    "wasm_component_model_accessors": False,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_gc": False,
    "gc_support": False,
    "wasm_function_references": False,
    "wasm_exceptions": False,
    "wasm_stack_switching": False,
    "wasm_memory64": False,
    "wasm_custom_page_sizes": False,
    "wasm_wide_arithmetic": False,
    "wasm_relaxed_simd": False,
    "native_unwind_info": False,  # for native debuggers; registering it costs every load
    "wasm_component_model": True,
    "wasm_multi_memory": True,
}
"""Proposals that guests need or do not need; part of the fingerprint of compiled code."""


def configure(config: Config) -> None:
    """Set every switch of `SWITCHES` on a configuration.

    Raises:
        EngineError: The library lacks one of the switches.
    """
    for name, enabled in SWITCHES.items():
        setter = getattr(_ffi, f"wasmtime_config_{name}_set", None)
        if setter is None:
            raise EngineError(
                f"this build of wasmtime has no switch {name}", code="engine.wasmtime-switch"
            )
        setter(config.ptr(), enabled)
