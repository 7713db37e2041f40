"""The contract between the Astrid kernel and its plugins: all that a plugin may import.

A plugin imports what it implements from the module of its kind (`engines`, `stores`, `authz`, ...)
and the marker from here.
"""

from __future__ import annotations

from astrid_hookspecs.markers import API_VERSION, ENTRY_POINT_GROUP, PROJECT, hookimpl, hookspec

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "PROJECT", "hookimpl", "hookspec"]
