"""A directory handle on an fsspec file system."""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Iterable
from typing import Any, Final

from astrid_hookspecs.errors import ReadOnlyError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeKind, NodeStat, OpenMode
from astrid_hookspecs.vfs_paths import is_temporary_name, path_parts

from astrid_vfs_fsspec.file import FsspecFile
from astrid_vfs_fsspec.translate import translated

_MODES: Final[dict[NodeKind, int]] = {"directory": 0o755, "regular": 0o644}
_KINDS: Final[dict[str, NodeKind]] = {"file": "regular", "directory": "directory"}
_SPECIAL: Final[dict[int, NodeKind]] = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block-device",
    stat.S_IFCHR: "character-device",
}
_NS: Final = 1_000_000_000


class FsspecDirectory:
    """Implements `VfsDirectory`.

    Args:
        files: An fsspec file system.
        root: The directory's path in it, without a slash at the end.
        writable: Whether it accepts changes at all.
        lock: Shared with the handles it came from; every change holds it.
    """

    def __init__(
        self,
        files: Any,
        root: str,
        *,
        writable: bool = True,
        lock: threading.RLock | None = None,
    ) -> None:
        self._writable = writable
        self.files = files
        self.lock = lock or threading.RLock()
        self._root = root
        self._closed = False

    def make_root(self) -> None:
        """Create the root where that is possible.

        Raises:
            VfsError: It is no directory, or cannot be made.
        """
        with translated():
            with contextlib.suppress(NotImplementedError, FileExistsError):
                self.files.makedirs(self._root, exist_ok=True)
            if self._root and not self.files.isdir(self._root):
                raise VfsError("the root is no directory", code="vfs.not-directory")

    def full(self, path: str) -> str:
        """The path in the file system."""
        return f"{self._root}/{path}" if path and self._root else path or self._root

    def open(self, path: str, mode: OpenMode) -> FsspecFile:
        """As `VfsDirectory.open`."""
        with translated(), self.lock:
            found = self._look(path)
            if found is not None:
                _need_kind(found, "regular")
            else:
                self._need_parent(path)
            if mode != "read":
                self._need_inner(path)
            if found is None and mode in {"read", "read-write"}:
                raise VfsNotFoundError("there is no such file")
            if found is None or mode == "write":
                self.files.pipe_file(self.full(path), b"")
            return FsspecFile(self, path, mode)

    def open_directory(self, path: str) -> FsspecDirectory:
        """As `VfsDirectory.open_directory`."""
        with translated(), self.lock:
            self._need_directory(path)
            return FsspecDirectory(
                self.files, self.full(path), writable=self._writable, lock=self.lock
            )

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        with translated(), self.lock:
            found = self._look(path)
            if found is None:
                self._need_parent(path)
                raise VfsNotFoundError("there is no such file or directory")
            return found

    def size(self, path: str) -> int:
        """Size of a file, which the path still has to lead to.

        Raises:
            VfsError: It leads to something else by now.
        """
        found = self.stat(path)
        _need_kind(found, "regular")
        return found.size

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        with translated(), self.lock:
            self._need_directory(path)
            listed = self.files.ls(self.full(path), detail=False, refresh=True)
            names = {item.rstrip("/").rpartition("/")[2] for item in listed}
            shown = sorted(name for name in names if _is_shown(name))
            return [name for name in shown if after is None or name > after][: max(0, limit)]

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        with translated(), self.lock:
            self._need_free(path)
            self.files.mkdir(self.full(path), create_parents=False)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`; there are no temporaries."""
        del token
        with translated(), self.lock:
            if self.stat(path).kind == "directory":
                raise VfsError("it is a directory", code="vfs.is-directory")
            self._need_inner(path)
            self._ask(only_if, path)
            self.files.rm_file(self.full(path))

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with translated(), self.lock:
            self._need_inner(path)
            if self.names(path, after=None, limit=1):
                raise VfsError("the directory is not empty", code="vfs.not-empty")
            self.files.rmdir(self.full(path))

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`; what is replaced is removed first."""
        with translated(), self.lock:
            self._need_inner(source)
            self._need_inner(target)
            moved = self.stat(source)
            self._need_parent(target)
            if source == target:
                return
            if target.startswith(f"{source}/"):
                raise VfsError("a directory cannot move into itself", code="vfs.invalid-path")
            self._make_way(moved, target)
            recursive = moved.kind == "directory"
            self.files.mv(self.full(source), self.full(target), recursive=recursive)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`; there are no temporaries and no permission bits."""
        del mode, token
        self._need_inner(path)
        data = b"".join(content)
        with translated(), self.lock:
            found = self._look(path)
            if found is not None:
                _need_kind(found, "regular")
            self._need_parent(path)
            self._ask(only_if, path)
            self.files.pipe_file(self.full(path), data)
            return self.stat(path)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`; not supported."""
        self._need_inner(source)
        self._need_inner(target)
        raise VfsError("this backend has no hard links", code="vfs.unsupported")

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`; not supported."""
        if self.stat(path).kind == "symlink":
            raise VfsError("this backend does not read links", code="vfs.unsupported")
        raise VfsError("it is no symbolic link", code="vfs.invalid-path")

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`; not supported."""
        del target
        self._need_inner(path)
        raise VfsError("this backend has no symbolic links", code="vfs.unsupported")

    def close(self) -> None:
        """As `VfsDirectory.close`."""
        self._closed = True

    def _look(self, path: str) -> NodeStat | None:
        """What a path leads to, None for nothing; no part of it before the last may be a link."""
        if self._closed:
            raise VfsError("the directory is closed", code="vfs.closed")
        parts = path_parts(path)
        for depth in range(1, len(parts)):
            above = self._info("/".join(parts[:depth]))
            if above is None:
                return None
            _need_kind(above, "directory")
        return self._info(path)

    def _info(self, path: str) -> NodeStat | None:
        full = self.full(path)
        try:
            info = self.files.info(full)
        except OSError as error:
            # Local files: it looked where a link leads, which is nowhere, or in a circle.
            if getattr(self.files, "islink", lambda _: False)(full):
                return NodeStat("symlink", 0, 0, None, None, None)
            if isinstance(error, FileNotFoundError):
                return None
            raise
        kind = _kind(info)
        modified = self._modified_ns(path, info)
        size = int(info.get("size") or 0) if kind == "regular" else 0
        stamp = "" if modified is None else f"{size}.{modified}"
        return NodeStat(kind, size, _MODES.get(kind, 0), modified, None, None, stamp)

    def _modified_ns(self, path: str, info: dict[str, Any]) -> int | None:
        found = info.get("mtime")
        if found is None:
            try:
                found = self.files.modified(self.full(path))
            except (NotImplementedError, FileNotFoundError, AttributeError):
                return None
        seconds = found.timestamp() if hasattr(found, "timestamp") else float(found)
        return round(seconds * _NS)

    def _need_inner(self, path: str) -> None:
        """Where something may be changed: anywhere but at the root."""
        if not path_parts(path):
            raise VfsError("the root stays as it is", code="vfs.access")
        if not self._writable:
            raise ReadOnlyError("this file system accepts no changes")

    def _need_parent(self, path: str) -> None:
        self._need_directory(path.rpartition("/")[0])

    def _need_directory(self, path: str) -> None:
        found = self._look(path)
        if found is None:
            raise VfsNotFoundError("there is no such directory")
        _need_kind(found, "directory")

    def _need_free(self, path: str) -> None:
        self._need_inner(path)
        self._need_parent(path)
        if self._look(path) is not None:
            raise VfsError("the name is taken", code="vfs.already-exists")

    def _make_way(self, moved: NodeStat, target: str) -> None:
        there = self._look(target)
        if there is None:
            return
        if moved.kind == "directory":
            if there.kind != "directory":
                raise VfsError("a file is in the way", code="vfs.not-directory")
            self.rmdir(target)
        elif there.kind == "directory":
            raise VfsError("a directory is in the way", code="vfs.is-directory")
        else:
            self.files.rm_file(self.full(target))

    def _ask(self, only_if: ContentCheck | None, path: str) -> None:
        if only_if is None:
            return
        found = self._look(path)
        is_file = found is not None and found.kind == "regular"
        file = FsspecFile(self, path, "read") if is_file else None
        if not only_if(file):
            raise VfsError("it is not what was expected", code="vfs.conflict")


def _kind(info: dict[str, Any]) -> NodeKind:
    if info.get("islink"):
        return "symlink"
    mode = info.get("mode")
    special = _SPECIAL.get(stat.S_IFMT(mode)) if isinstance(mode, int) else None
    return special or _KINDS.get(str(info.get("type")), "type-unknown")


def _need_kind(found: NodeStat, kind: NodeKind) -> None:
    if found.kind == kind:
        return
    if found.kind == "symlink":
        raise VfsError("it is a symbolic link", code="vfs.link")
    if kind == "directory":
        raise VfsError("it is no directory", code="vfs.not-directory")
    if found.kind == "directory":
        raise VfsError("it is a directory", code="vfs.is-directory")
    raise VfsError("it is no regular file", code="vfs.access")


def _is_shown(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return bool(name) and not is_temporary_name(name)
