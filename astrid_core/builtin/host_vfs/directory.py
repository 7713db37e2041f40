"""A directory handle on the host's disk.

Trusted with confinement: every path goes through `Beneath`, every last name through a call that
does not follow links, and what was opened is looked at on its descriptor.
"""

from __future__ import annotations

import heapq
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from astrid_core.builtin.host_vfs.beneath import DIRECTORY_FLAGS, Beneath
from astrid_core.builtin.host_vfs.file import HostFile
from astrid_core.builtin.host_vfs.nodes import TreePolicy, check_content, node_stat, translated
from astrid_core.builtin.host_vfs.replace import replace_file, unlink_file
from astrid_core.builtin.host_vfs.syscalls import birth_ns
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsDirectory, VfsFile
from astrid_hookspecs.vfs_paths import is_temporary_name, path_parts

MAX_OPEN_FILES: Final = 256
_CLOSED: Final = -1
# Non-blocking: a pipe or device that stands in a file's place must not hold the kernel up. It has
# no effect on regular files, and everything else is closed again at once.
_OPEN: Final = os.O_NONBLOCK | os.O_NOCTTY
_FLAGS: Final[dict[OpenMode, int]] = {
    "read": os.O_RDONLY | _OPEN,
    "write": os.O_WRONLY | os.O_CREAT | _OPEN,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND | _OPEN,
    "read-write": os.O_RDWR | _OPEN,
}
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY
_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


class _OpenFiles:
    """Counts the open files of a root and everything below it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def enter(self) -> None:
        with self._lock:
            if self._count >= MAX_OPEN_FILES:
                raise VfsError(f"{MAX_OPEN_FILES} files are open here already", code="vfs.quota")
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1


class HostDirectory:
    """Implements `VfsDirectory`.

    Args:
        descriptor: Of the directory; owned.
        beneath: How paths are opened.
        policy: What is believed about the files here.
        open_files: Shared with the handle this one came from.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        beneath: Beneath,
        policy: TreePolicy,
        open_files: _OpenFiles | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._beneath = beneath
        self._policy = policy
        self._open_files = open_files or _OpenFiles()

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        path_parts(path)
        self._open_files.enter()
        try:
            with translated():
                descriptor = self._open_checked(path, mode)
        except BaseException:
            self._open_files.leave()
            raise
        return HostFile(descriptor, mode, closed=self._open_files.leave)

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`."""
        path_parts(path)
        with translated():
            descriptor = self._beneath.open(self._root, path, DIRECTORY_FLAGS)
        return HostDirectory(
            descriptor, beneath=self._beneath, policy=self._policy, open_files=self._open_files
        )

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        with translated(), self._at(path) as (directory, name):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            return node_stat(found, created_ns=birth_ns(directory, name))

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        path_parts(path)
        with translated():
            descriptor = self._beneath.open(self._root, path, _LIST)
            try:
                with os.scandir(descriptor) as entries:
                    # Code points sort as their UTF-8 bytes do.
                    return heapq.nsmallest(limit, _shown((entry.name for entry in entries), after))
            finally:
                os.close(descriptor)

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with translated(), self._changing(path) as (directory, name):
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=directory)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        with translated(), self._changing(path) as (directory, name):
            unlink_file(directory, name, only_if=only_if, token=token)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with translated(), self._changing(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        with (
            translated(),
            self._changing(source) as (old_directory, old),
            self._changing(target) as (new_directory, new),
        ):
            os.rename(old, new, src_dir_fd=old_directory, dst_dir_fd=new_directory)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`."""
        with translated(), self._changing(path, readable=True) as (directory, name):
            return replace_file(directory, name, content, mode=mode, only_if=only_if, token=token)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        with (
            translated(),
            self._changing(source) as (old_directory, old),
            self._changing(target) as (new_directory, new),
        ):
            if stat.S_ISDIR(os.stat(old, dir_fd=old_directory, follow_symlinks=False).st_mode):
                raise VfsError("it is a directory", code="vfs.is-directory")
            os.link(
                old,
                new,
                src_dir_fd=old_directory,
                dst_dir_fd=new_directory,
                follow_symlinks=False,
            )

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        with translated(), self._at(path) as (directory, name):
            target = os.readlink(name, dir_fd=directory)
        if not _is_utf8(target):
            raise VfsError("the link's target is not UTF-8", code="vfs.invalid-path")
        return target

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        with translated(), self._changing(path) as (directory, name):
            os.symlink(target, name, dir_fd=directory)

    def close(self) -> None:
        """As `VfsDirectory.close`."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    @property
    def _root(self) -> int:
        if self._descriptor == _CLOSED:
            raise VfsError("the directory is closed", code="vfs.closed")
        return self._descriptor

    def _open_checked(self, path: str, mode: OpenMode) -> int:
        descriptor = self._beneath.open(self._root, path, _FLAGS[mode], _FILE_MODE)
        try:
            check_content(os.fstat(descriptor), self._policy)
            if mode == "write":
                os.ftruncate(descriptor, 0)  # only now: O_TRUNC would empty what is refused
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @contextmanager
    def _at(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds a path's last name, and that name; the root is its own `.`."""
        with self._parent(path_parts(path), flags=DIRECTORY_FLAGS) as found:
            yield found

    @contextmanager
    def _changing(self, path: str, *, readable: bool = False) -> Iterator[tuple[int, str]]:
        """As `_at`, for operations that the root itself does not allow."""
        parts = path_parts(path)
        if not parts:
            raise VfsError("the root of a mount stays as it is", code="vfs.access")
        with self._parent(parts, flags=_LIST if readable else DIRECTORY_FLAGS) as found:
            yield found

    @contextmanager
    def _parent(self, parts: tuple[str, ...], *, flags: int) -> Iterator[tuple[int, str]]:
        if len(parts) <= 1 and flags == DIRECTORY_FLAGS:
            yield self._root, parts[0] if parts else "."
            return
        descriptor = self._beneath.open(self._root, "/".join(parts[:-1]), flags)
        try:
            yield descriptor, parts[-1]
        finally:
            os.close(descriptor)


def _shown(names: Iterable[str], after: str | None) -> Iterator[str]:
    for name in names:
        if (after is None or name > after) and not is_temporary_name(name) and _is_utf8(name):
            yield name


def _is_utf8(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 arrive as lone surrogates
        return False
    return True
