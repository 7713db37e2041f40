"""Hook implementations of the overlay; the work sits in the modules beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.vfs import OverlaySpec, VfsOverlay, VfsOverlayRecord


def _open_overlay(spec: OverlaySpec) -> VfsOverlay:
    from astrid_vfs_overlay.overlay import Overlay  # noqa: PLC0415 - SQLite and BLAKE3 on first need

    return Overlay.open_store(spec)


@hookimpl
def astrid_register_vfs_overlays() -> list[VfsOverlayRecord]:
    """Declare the `copy-on-write` overlay."""
    return [VfsOverlayRecord(name="copy-on-write", factory=_open_overlay)]
