"""Hook implementations of the WebAssembly engine; the work sits in the modules beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.engines import Engine, EngineEnvironment, EngineRecord


def _make_engine(environment: EngineEnvironment) -> Engine:
    from astrid_engine_wasm.engine import WasmEngine  # noqa: PLC0415 - loads wasmtime on first need

    return WasmEngine(environment)


@hookimpl
def astrid_register_engines() -> list[EngineRecord]:
    """Declare the `wasm` engine."""
    return [EngineRecord(name="wasm", serves=frozenset({"component"}), factory=_make_engine)]
