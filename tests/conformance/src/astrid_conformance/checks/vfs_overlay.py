"""Checks for overlays: those of file system backends on what it shows, and its own.

`astrid_hookspecs.vfs.VfsOverlay`. They are in modules by what they look at; importing them fills
the list.
"""

from __future__ import annotations

from astrid_conformance.checks import vfs_overlay_commit, vfs_overlay_store, vfs_overlay_view
from astrid_conformance.checks.vfs_overlay_subject import (
    VFS_OVERLAY,
    CountingMeter,
    Lower,
    OverlaySubject,
    dict_lower,
    overlay_subject,
)

__all__ = [
    "VFS_OVERLAY",
    "CountingMeter",
    "Lower",
    "OverlaySubject",
    "dict_lower",
    "overlay_subject",
    "vfs_overlay_commit",
    "vfs_overlay_store",
    "vfs_overlay_view",
]
