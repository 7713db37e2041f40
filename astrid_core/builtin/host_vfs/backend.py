"""Opens roots on the host's disk, for the kernel and for mounts that an operator configures."""

from __future__ import annotations

import os
from pathlib import Path

from astrid_core.builtin.host_vfs.admission import AdmissionRules
from astrid_core.builtin.host_vfs.beneath import DIRECTORY, Beneath, best_beneath
from astrid_core.builtin.host_vfs.directory import HostDirectory
from astrid_core.builtin.host_vfs.file import Descriptor
from astrid_core.builtin.host_vfs.tree import Tree
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.vfs import VfsDirectory
from astrid_hookspecs.vfs_paths import vfs_error


def open_host_directory(
    path: Path,
    *,
    foreign: bool,
    multi_linked: bool | None = None,
    durable: bool = False,
    beneath: Beneath | None = None,
) -> VfsDirectory:
    """Open a directory of the disk as a root.

    Args:
        path: Chosen by the operator or the kernel; may lead through links. Used once: whatever
            happens to it later, the root stays the directory that was opened.
        foreign: Others create files in it (a workspace): one that is sparse beyond reason is
            refused.
        multi_linked: Whether files with several names are admitted, although one of them may lie
            outside; None: where nobody else creates files. Otherwise no links are made either.
        durable: Whether made, moved and removed names are on the disk when the call returns, as
            `replace` always promises. It makes such a call several times slower.
        beneath: How paths are opened; None takes the best that works here.

    Raises:
        VfsError: It is missing, no directory, or not accessible.
    """
    try:
        descriptor = Descriptor(os.open(path, DIRECTORY))
    except OSError as error:
        raise vfs_error(error) from error
    admitted = not foreign if multi_linked is None else multi_linked
    rules = AdmissionRules(foreign=foreign, multi_linked=admitted)
    return HostDirectory(descriptor, Tree(beneath or best_beneath(), rules, durable=durable))


def open_host_url(text: str) -> VfsDirectory:
    """Open the directory that a `file://` URL names.

    Others create names there, but the operator who configured it vouches for what is in it: files
    with several names are admitted.

    Args:
        text: What follows `file://`: an absolute path, taken as it is written.

    Raises:
        ConfigError: `vfs.root`: it is no absolute path.
        VfsError: As `open_host_directory`.
    """
    if not text.startswith("/") or "\0" in text:
        raise ConfigError(
            f"file://{text[:80]} has no absolute path",
            code="vfs.root",
            hint="write three slashes: file:///srv/data",
        )
    return open_host_directory(Path(text), foreign=True, multi_linked=True)
