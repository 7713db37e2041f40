"""Astrid: a capability-secure micro-kernel that runs untrusted components for AI agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astrid_core.kernel.kernel import Kernel
    from astrid_core.kernel.tool_catalogue import ToolInfo
    from astrid_core.kernel.tools import ToolResult

__all__ = ["Kernel", "ToolInfo", "ToolResult"]

_HOMES = {
    "Kernel": "astrid_core.kernel.kernel",
    "ToolInfo": "astrid_core.kernel.tool_catalogue",
    "ToolResult": "astrid_core.kernel.tools",
}


def __getattr__(name: str) -> object:
    """Import the public names on first use, so that the command line starts without the kernel."""
    if name in _HOMES:
        import importlib  # noqa: PLC0415 - only where something is imported

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
