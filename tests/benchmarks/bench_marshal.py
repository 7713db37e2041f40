"""The engine's own conversions against the stock binding, same engine, same guests, one run.

Both sides are measured in turns and the best of several rounds counts, so that a busy machine hits
both alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store
from wasmtime.component import Component, Linker

from astrid_engine_wasm import ffi
from astrid_engine_wasm.binding import GuestLinker
from astrid_engine_wasm.signature import component_imports
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call

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


def _best(
    ours: Callable[[], object], stock: Callable[[], object], *, times: tuple[int, int], rounds: int
) -> tuple[float, float]:
    """Microseconds per call of each side; `times` are the calls of one round."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for side, (call, count) in enumerate(zip((ours, stock), times, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                call()
            best[side] = min(best[side], (time.perf_counter() - start) / count * 1e6)
    return best[0], best[1]


def _row(name: str, found: tuple[float, float], *, budget: float, per: int = 1) -> dict[str, Any]:
    ours, stock = found[0] / per, found[1] / per
    ratio = stock / ours
    return {
        "name": name,
        "ratio": round(ratio, 1),
        "budget": budget,
        "unit": "x",
        "ok": ratio >= budget,
        "detail": {"ours_us": round(ours, 2), "stock_us": round(stock, 2)},
    }


def hook_call(engine: Engine, size: int) -> tuple[float, float]:
    """Microseconds of `astrid-hook-trigger` with `size` bytes in and as much text out."""
    component = Component(engine, (GUESTS / "echo.wat").read_text())
    guest = GuestLinker(engine, component, {}).instantiate(_store(engine), _ConstantHost(b""))
    store = _store(engine)
    stock = Linker(engine).instantiate(store, component).get_func(store, "astrid-hook-trigger")
    if stock is None:
        raise RuntimeError("echo.wat does not export astrid-hook-trigger")
    payload = b"p" * size
    if guest.call_hook("act", payload).data != payload.decode():
        raise RuntimeError("the guest did not echo")
    small = size <= 1024
    return _best(
        lambda: guest.call_hook("act", payload),
        lambda: stock(store, "act", payload),
        times=(3000, 200) if small else (60, 2),
        rounds=5,
    )


def host_call(engine: Engine, size: int) -> tuple[float, float]:
    """Microseconds of `HOST_CALLS` kv-get calls that answer `size` bytes."""
    component = Component(engine, (GUESTS / "kv.wat").read_text())
    imports = component_imports(component, engine)[KV]
    abi = {KV: (), **{f"{KV}#{name}": (text,) for name, text in imports.items()}}
    value = b"v" * size
    guest = GuestLinker(engine, component, abi).instantiate(_store(engine), _ConstantHost(value))
    linker, store = Linker(engine), _store(engine)
    with linker.root() as root, root.add_instance(KV) as instance:
        instance.add_func("kv-get", lambda _store, _key: value)
    stock = linker.instantiate(store, component).get_func(store, "astrid-install")
    if stock is None:
        raise RuntimeError("kv.wat does not export astrid-install")
    return _best(
        lambda: guest.call_void("astrid-install"), lambda: stock(store), times=(5, 1), rounds=4
    )


def run() -> list[dict[str, Any]]:
    """Measure; one row per budget of the design's table."""
    engine = _engine()
    return [
        _row("host call kv-get, 64 B", host_call(engine, 64), budget=10, per=HOST_CALLS),
        _row("hook call, 64 B", hook_call(engine, 64), budget=10),
        _row("hook call, 64 KiB", hook_call(engine, 65536), budget=15),
    ]


if __name__ == "__main__":
    for row in run():
        print(row)  # noqa: T201 - a command-line tool
