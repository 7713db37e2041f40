"""Checks for file system backends: all of `astrid_hookspecs.vfs.VfsDirectory`.

They are in modules by what they look at; importing them fills the list.
"""

from __future__ import annotations

from astrid_conformance.checks import (
    vfs_content,
    vfs_hostile,
    vfs_links,
    vfs_names,
    vfs_replace,
    vfs_tree,
)
from astrid_conformance.checks.vfs_doors import DictDoor, DiskDoor, SideDoor
from astrid_conformance.checks.vfs_subject import VFS_BACKEND, VfsSubject, vfs_subject

__all__ = [
    "VFS_BACKEND",
    "DictDoor",
    "DiskDoor",
    "SideDoor",
    "VfsSubject",
    "vfs_content",
    "vfs_hostile",
    "vfs_links",
    "vfs_names",
    "vfs_replace",
    "vfs_subject",
    "vfs_tree",
]
