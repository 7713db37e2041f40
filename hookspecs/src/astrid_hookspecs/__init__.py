"""The contract between the Astrid kernel and its plugins: all that a plugin may import.

A plugin imports what it implements from the module of its kind (`engines`, `stores`, `authz`, ...)
and the marker from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astrid_hookspecs.markers import API_VERSION, ENTRY_POINT_GROUP, PROJECT, hookimpl, hookspec

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "PROJECT", "hookimpl", "hookspec"]


def __getattr__(name: str) -> object:
    """Import the markers on first use: who needs errors or values only waits for no pluggy."""
    if name in __all__:
        from astrid_hookspecs import markers  # noqa: PLC0415 - see above

        return getattr(markers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
