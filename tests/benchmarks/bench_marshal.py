"""The engine's own conversions against the stock binding, same engine, same guests, one run.

Nothing but the crossing is measured: the guests echo or ask, the host answers with a constant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from wasmtime import Config, Engine, Store
from wasmtime.component import Component, Linker

from astrid_engine_wasm import ffi
from astrid_engine_wasm.binding import GuestLinker
from astrid_engine_wasm.signature import component_imports
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call
from tests.benchmarks.measure import Row, Sides, alternate, at_least, micro

GUESTS = Path(__file__).parents[2] / "plugins/astrid-engine-wasm/tests/guests"
KV = "astrid:kv/host@1.0.0"
HOST_CALLS = 1000
"""How often `astrid-install` of kv.wat calls the host."""


class _ConstantHost:
    """Answers kv-get with the same bytes: the store is not what is measured."""

    def __init__(self, value: bytes) -> None:
        self.cancel, self.ready = CancelToken(), threading.Event()
        self._value = value

    def handler(self, interface: str, function: str) -> Callable[..., object]:
        del interface, function
        value = self._value
        return lambda _key: value

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """Nothing is attributed."""

    def leave(self) -> None:
        """Nothing is attributed."""

    def close(self) -> None:
        """Nothing is held."""


def _engine() -> Engine:
    config = Config()
    config.epoch_interruption = True
    ffi.configure(config)
    return Engine(config)


def _store(engine: Engine) -> Store:
    store = Store(engine)
    store.set_epoch_deadline(10_000_000)
    return store


def _row(name: str, sides: Sides, *, budget: float, per: int = 1) -> Row:
    return at_least(
        name,
        sides.ratio,
        budget,
        detail={"ours_us": micro(sides.ours / per), "stock_us": micro(sides.theirs / per)},
    )


def hook_call(engine: Engine, size: int, *, rounds: int) -> Sides:
    """`astrid-hook-trigger` with `size` bytes in and as much text out."""
    component = Component(engine, (GUESTS / "echo.wat").read_text())
    linker = GuestLinker(engine, component, {})
    store = _store(engine)
    stock = Linker(engine).instantiate(store, component).get_func(store, "astrid-hook-trigger")
    if stock is None:
        raise RuntimeError("echo.wat does not export astrid-hook-trigger")
    payload = b"p" * size
    with closing(linker.instantiate(_store(engine), _ConstantHost(b""))) as guest:
        if guest.call_hook("act", payload).data != payload.decode():
            raise RuntimeError("the guest did not echo")
        return alternate(
            lambda: guest.call_hook("act", payload),
            lambda: stock(store, "act", payload),
            times=(1000, 100) if size <= 1024 else (50, 3),
            rounds=rounds,
        )


def host_call(engine: Engine, size: int, *, rounds: int) -> Sides:
    """`HOST_CALLS` kv-get calls that answer `size` bytes."""
    component = Component(engine, (GUESTS / "kv.wat").read_text())
    imports = component_imports(component, engine)[KV]
    abi = {KV: (), **{f"{KV}#{name}": (text,) for name, text in imports.items()}}
    value = b"v" * size
    ours = GuestLinker(engine, component, abi)
    linker, store = Linker(engine), _store(engine)
    with linker.root() as root, root.add_instance(KV) as instance:
        instance.add_func("kv-get", lambda _store, _key: value)
    stock = linker.instantiate(store, component).get_func(store, "astrid-install")
    if stock is None:
        raise RuntimeError("kv.wat does not export astrid-install")
    with closing(ours.instantiate(_store(engine), _ConstantHost(value))) as guest:
        return alternate(
            lambda: guest.call_void("astrid-install"),
            lambda: stock(store),
            times=(5, 1),
            rounds=rounds,
        )


def run(*, quick: bool = False) -> list[Row]:
    """Measure; one row per budget of the design's table."""
    engine, rounds = _engine(), 3 if quick else 9
    calls = host_call(engine, 64, rounds=rounds)
    small, large = (hook_call(engine, size, rounds=rounds) for size in (64, 65536))
    return [
        _row("host call kv-get, 64 B, against the stock binding", calls, budget=10, per=HOST_CALLS),
        _row("hook call, 64 B, against the stock binding", small, budget=10),
        _row("hook call, 64 KiB, against the stock binding", large, budget=15),
    ]
