"""From the URL of a mount to an fsspec file system and a path in it."""

from __future__ import annotations

import zipfile

import fsspec
from astrid_hookspecs.errors import ConfigError, VfsError
from astrid_hookspecs.vfs import VfsDirectory
from fsspec.core import url_to_fs

from astrid_vfs_fsspec.directory import FsspecDirectory


def open_root(scheme: str, root: str) -> VfsDirectory:
    """Open a root; it is created where the file system lets it be.

    Args:
        scheme: `memory` (the root is a path), `zip` (of a file on the disk), or `fsspec` (a URL).
        root: What follows `://`.

    Raises:
        ConfigError: `vfs.root`: the URL names nothing, or a file system that is not installed.
        VfsError: It cannot be opened, or is no directory.
    """
    if not root or "\0" in root:
        raise _unusable(scheme, root, "it names nothing")
    try:
        if scheme == "zip":
            files, path = fsspec.filesystem("zip", fo=root, mode="r"), ""
        elif scheme == "memory":
            files, path = fsspec.filesystem("memory"), f"/{root.strip('/')}"
        else:
            files, path = url_to_fs(root)
    except (ValueError, ImportError, zipfile.BadZipFile) as error:
        raise _unusable(scheme, root, str(error)) from error
    except OSError as error:
        raise VfsError(f"{scheme}:// cannot be opened: {error.strerror or error}") from error
    writable = scheme != "zip"
    directory = FsspecDirectory(files, path.rstrip("/"), writable=writable)
    if writable:
        directory.make_root()
    return directory


def _unusable(scheme: str, root: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{scheme}://{root[:80]} cannot be a mount: {reason}",
        code="vfs.root",
        hint="for example memory://scratch, zip:///srv/wiki.zip or fsspec://file:///srv/data",
    )
