"""Small components and a recording host for the tests of this engine."""

from __future__ import annotations

import ctypes
import gc
import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from wasmtime import Config, Engine, Store
from wasmtime.component import Component

from astrid_engine_wasm import ffi
from astrid_engine_wasm.binding import GuestInstance, GuestLinker
from astrid_engine_wasm.signature import component_imports
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call

GUESTS = Path(__file__).parent / "guests"

Bind = Callable[..., GuestInstance]


class TableHost:
    """A `HostInstance` whose handlers are a dict by function name; what it lacks answers None."""

    def __init__(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self.cancel, self.ready = CancelToken(), threading.Event()
        self.handlers = handlers

    def handler(self, interface: str, function: str) -> Callable[..., object] | None:
        del interface
        return self.handlers.get(function, lambda *_: None)

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """Nothing is attributed in these tests."""

    def leave(self) -> None:
        """Nothing is attributed in these tests."""

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture(scope="session")
def raw_engine() -> Engine:
    config = Config()
    config.epoch_interruption = True
    ffi.configure(config)
    return Engine(config)


@pytest.fixture
def bind_guest(raw_engine: Engine) -> Iterator[Bind]:
    """Instantiates a guest: a file name below `guests/` or text, and handlers by function name.

    Without an ABI the component's own imports are accepted as they are.
    """
    bound: list[GuestInstance] = []

    def bind(
        source: str,
        handlers: Mapping[str, Callable[..., Any]] | None = None,
        *,
        abi: Mapping[str, tuple[str, ...]] | None = None,
        store: Store | None = None,
    ) -> GuestInstance:
        text = (GUESTS / source).read_text() if source.endswith(".wat") else source
        component = Component(raw_engine, text)
        accepted = own_abi(component, raw_engine) if abi is None else abi
        if store is None:
            store = Store(raw_engine)
            store.set_epoch_deadline(1_000_000)
        linker = GuestLinker(raw_engine, component, accepted)
        guest = linker.instantiate(store, TableHost(handlers or {}))
        bound.append(guest)
        return guest

    yield bind
    for guest in bound:
        guest.close()


class _Mallinfo(ctypes.Structure):
    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


@pytest.fixture(scope="session")
def used_bytes() -> Callable[[], int]:
    """Tells how much memory is in use: what was allocated and not freed, else the resident set.

    The resident set alone hides small leaks in a process that freed much before.
    """
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = _Mallinfo

    def used() -> int:
        gc.collect()
        if mallinfo is None:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        info = mallinfo()
        return int(info.uordblks + info.hblkhd)

    return used


def own_abi(component: Component, engine: Engine) -> dict[str, tuple[str, ...]]:
    """An ABI that accepts exactly what a component imports."""
    abi: dict[str, tuple[str, ...]] = {}
    for interface, functions in component_imports(component, engine).items():
        abi[interface] = ()
        for name, text in functions.items():
            abi[f"{interface}#{name}"] = (text,)
            if name.startswith("["):
                resource = name.partition("]")[2].partition(".")[0]
                abi[f"{interface}#[resource]{resource}"] = ()
    return abi
