"""What a Python capsule imports.

    from astrid_sdk import tool

    @tool
    def hello(name: str) -> str:
        \"\"\"Greet somebody.\"\"\"
        return f"Hello, {name}!"

The wrappers of host interfaces are modules: `from astrid_sdk import ipc, kv`. Importing one makes
the component import its interface, so a capsule carries only what it uses.
"""

from __future__ import annotations

from astrid_sdk.declarations import command, install, interceptor, run, tool, upgrade
from astrid_sdk.errors import ArgumentError, AstridSdkError, HostError, ToolError
from astrid_sdk.loop import RunLoop
from astrid_sdk.results import Continue, Deny, Final

__all__ = [
    "ArgumentError",
    "AstridSdkError",
    "Continue",
    "Deny",
    "Final",
    "HostError",
    "RunLoop",
    "ToolError",
    "command",
    "install",
    "interceptor",
    "run",
    "tool",
    "upgrade",
]
__version__ = "0.1.0"
