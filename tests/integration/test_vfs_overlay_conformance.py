"""The overlay plugin against the kit: over a directory in memory, and over one on the disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from astrid_conformance.checks.vfs_backend import DiskDoor
from astrid_conformance.checks.vfs_overlay import Lower
from astrid_conformance.suites import VfsOverlayConformance
from astrid_core.builtin.host_vfs import open_host_directory
from astrid_vfs_overlay.plugin import astrid_register_vfs_overlays

(RECORD,) = astrid_register_vfs_overlays()


class TestOverMemory(VfsOverlayConformance):
    supports = frozenset({"hard-link", "symlink", "modes"})
    make = staticmethod(RECORD.factory)


class TestOverTheDisk(VfsOverlayConformance):
    supports = frozenset({"hard-link", "symlink", "modes"})
    make = staticmethod(RECORD.factory)

    def lower(self, directory: Path) -> Lower:
        root = directory / "above" / "root"
        root.mkdir(parents=True)
        (root.parent / "secret").write_bytes(b"outside")
        return Lower(partial(open_host_directory, root, foreign=True), DiskDoor(root))
