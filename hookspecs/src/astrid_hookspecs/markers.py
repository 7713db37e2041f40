"""Hook markers and the version of the contract."""

from __future__ import annotations

from typing import Final

import pluggy

PROJECT: Final = "astrid"
ENTRY_POINT_GROUP: Final = "astrid.plugins"

API_VERSION: Final = (1, 0)
"""Major and minor version of the hook contract. The loader refuses a plugin of another major."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
