"""Opens roots on the host's disk."""

from __future__ import annotations

import os
from pathlib import Path

from astrid_core.builtin.host_vfs.beneath import DIRECTORY_FLAGS, Beneath, best_beneath
from astrid_core.builtin.host_vfs.directory import HostDirectory
from astrid_core.builtin.host_vfs.nodes import TreePolicy, translated
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.vfs import VfsDirectory


def open_host_directory(
    path: Path, *, foreign: bool, multi_linked: bool = False, beneath: Beneath | None = None
) -> VfsDirectory:
    """Open a directory as a root. The path itself is the operator's and may go through links.

    Args:
        path: Absolute.
        foreign: Others write to the tree, so files with several names and sparse files are refused.
        multi_linked: Allow files with several names all the same.
        beneath: How paths are opened; None for the best way this system has.

    Raises:
        VfsNotFoundError, VfsError: It cannot be opened, or is no directory.
    """
    with translated():
        descriptor = os.open(path.resolve(), DIRECTORY_FLAGS)
    policy = TreePolicy(multi_linked=multi_linked or not foreign, sparse=not foreign)
    return HostDirectory(descriptor, beneath=beneath or best_beneath(), policy=policy)


def open_host_url(root: str) -> VfsDirectory:
    """Open the root of a `file://` URL.

    Args:
        root: What follows `file://`: an absolute path.

    Raises:
        ConfigError: `vfs.root`: it is no absolute path.
        VfsNotFoundError, VfsError: As `open_host_directory`.
    """
    if not root.startswith("/") or "\0" in root:
        raise ConfigError(
            f"file://{root[:80]} has no absolute path",
            code="vfs.root",
            hint="write three slashes: file:///srv/data",
        )
    return open_host_directory(Path(root), foreign=True)
