"""Hook implementations of the MCP engine; the work sits in the modules beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.engines import Engine, EngineEnvironment, EngineRecord


def _make_engine(environment: EngineEnvironment) -> Engine:
    from astrid_engine_mcp.engine import McpEngine  # noqa: PLC0415 - loads the SDK on first need

    return McpEngine(environment)


@hookimpl
def astrid_register_engines() -> list[EngineRecord]:
    """Declare the `mcp` engine."""
    return [EngineRecord(name="mcp", serves=frozenset({"mcp_server"}), factory=_make_engine)]
