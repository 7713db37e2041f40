"""The plainest file system backend there is: one directory of the host, for one thread at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeKind, NodeStat, OpenMode
from astrid_hookspecs.vfs_paths import is_temporary_name, path_parts, vfs_error

FLAGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "read-write": os.O_RDWR,
}
KINDS: dict[int, NodeKind] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
}


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise vfs_error(error) from error


def node(found: os.stat_result) -> NodeStat:
    kind = KINDS.get(stat.S_IFMT(found.st_mode), "type-unknown")
    size = found.st_size if kind in ("regular", "symlink") else 0
    mode = stat.S_IMODE(found.st_mode)
    return NodeStat(kind, size, mode, found.st_mtime_ns, None, found.st_atime_ns)


class DiskFile:
    def __init__(self, descriptor: int, *, appends: bool) -> None:
        self.descriptor = descriptor
        self.appends = appends
        self.closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self.descriptor, size, offset)

    def write_at(self, offset: int, data: bytes) -> int:
        with translated():
            if self.appends:
                return os.write(self.descriptor, data)
            return os.pwrite(self.descriptor, data, offset)

    def truncate(self, size: int) -> None:
        with translated():
            os.ftruncate(self.descriptor, size)

    def sync(self, *, metadata: bool) -> None:
        (os.fsync if metadata else os.fdatasync)(self.descriptor)

    def stat(self) -> NodeStat:
        return node(os.fstat(self.descriptor))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.descriptor)


class DiskDirectory:
    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str) -> Path:
        parts = path_parts(path)
        here = self.root
        for part in parts[:-1]:
            here /= part
            if here.is_symlink():
                raise VfsError("a link is on the way", code="vfs.link")
        return here / parts[-1] if parts else here

    def target(self, path: str) -> Path:
        place = self.at(path)
        if place.is_symlink():
            raise VfsError("it is a link", code="vfs.link")
        return place

    def open(self, path: str, mode: OpenMode) -> DiskFile:
        place = self.target(path)
        if place.is_dir():
            raise VfsError("it is a directory", code="vfs.is-directory")
        with translated():
            descriptor = os.open(place, FLAGS[mode] | os.O_NOFOLLOW, 0o644)
        return DiskFile(descriptor, appends=mode == "append")

    def open_directory(self, path: str) -> DiskDirectory:
        return DiskDirectory(self.target(path))

    def stat(self, path: str) -> NodeStat:
        with translated():
            return node(self.at(path).lstat())

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        with translated():
            found = sorted(os.listdir(self.target(path)), key=os.fsencode)
        return [n for n in found if not is_temporary_name(n) and (after is None or n > after)][
            :limit
        ]

    def mkdir(self, path: str) -> None:
        with translated():
            self.at(path).mkdir()

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        del only_if, token
        place = self.at(path)
        if place.is_dir() and not place.is_symlink():
            raise VfsError("it is a directory", code="vfs.is-directory")
        with translated():
            place.unlink()

    def rmdir(self, path: str) -> None:
        with translated():
            self.at(path).rmdir()

    def rename(self, source: str, target: str) -> None:
        with translated():
            self.at(source).replace(self.at(target))

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        del only_if, token
        place = self.target(path)
        if place.is_dir():
            raise VfsError("it is a directory", code="vfs.is-directory")
        with translated():
            place.write_bytes(b"".join(content))
            if mode is not None:
                place.chmod(mode)
        return self.stat(path)

    def link(self, source: str, target: str) -> None:
        with translated():
            os.link(self.at(source), self.at(target))

    def readlink(self, path: str) -> str:
        with translated():
            return os.readlink(self.at(path))

    def symlink(self, target: str, path: str) -> None:
        with translated():
            self.at(path).symlink_to(target)

    def close(self) -> None:
        pass
