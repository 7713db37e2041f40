"""A file system in a dictionary, for tests of what uses one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsFile
from astrid_hookspecs.vfs_paths import path_parts


class DictFile:
    """Implements `VfsFile` over a shared buffer."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def read_at(self, offset: int, size: int) -> bytes:
        """As `VfsFile.read_at`."""
        return bytes(self._data[offset : offset + size])

    def write_at(self, offset: int, data: bytes) -> int:
        """As `VfsFile.write_at`."""
        if offset > len(self._data):
            self.truncate(offset)
        self._data[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, size: int) -> None:
        """As `VfsFile.truncate`."""
        del self._data[size:]
        self._data.extend(bytes(size - len(self._data)))

    def sync(self, *, metadata: bool) -> None:
        """As `VfsFile.sync`; there is nothing to do."""

    def stat(self) -> NodeStat:
        """As `VfsFile.stat`."""
        return NodeStat("regular", len(self._data), 0o600, None, None, None)

    def close(self) -> None:
        """As `VfsFile.close`."""


class DictDirectory:
    """Implements `VfsDirectory`. It has no links.

    Attributes:
        nodes: Buffers of files, None for directories, by path.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, bytearray | None] = {"": None}
        self._base = ""

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        place = self._resolve(path)
        if place not in self.nodes and mode in ("write", "append"):
            self._require_directory(place)
            self.nodes[place] = bytearray()
        data = self._node(place)
        if data is None:
            raise VfsError(f"{path} is a directory", code="vfs.is-directory")
        if mode == "write":
            data.clear()
        return DictFile(data)

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        data = self._node(self._resolve(path))
        if data is None:
            return NodeStat("directory", 0, 0o700, None, None, None)
        return DictFile(data).stat()

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        place = self._resolve(path)
        self._node(place)
        found = sorted(self._children(place), key=str.encode)
        floor = b"" if after is None else after.encode()
        return [name for name in found if after is None or name.encode() > floor][:limit]

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        place = self._resolve(path)
        if place in self.nodes:
            raise VfsError(f"{path} exists", code="vfs.already-exists")
        self._require_directory(place)
        self.nodes[place] = None

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        del token
        place = self._resolve(path)
        data = self._node(place)
        if data is None:
            raise VfsError(f"{path} is a directory", code="vfs.is-directory")
        self._ask(only_if, data, path)
        del self.nodes[place]

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        place = self._resolve(path)
        if self._node(place) is not None:
            raise VfsError(f"{path} is not a directory", code="vfs.not-directory")
        if self._children(place):
            raise VfsError(f"{path} is not empty", code="vfs.not-empty")
        del self.nodes[place]

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`, for files."""
        old, new = self._resolve(source), self._resolve(target)
        data = self._node(old)
        self._require_directory(new)
        del self.nodes[old]
        self.nodes[new] = data

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        data = self._node(self._resolve(source))
        self.nodes[self._resolve(target)] = data

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`; there are no links."""
        self._node(self._resolve(path))
        raise VfsError(f"{path} is not a symbolic link", code="vfs.invalid-path")

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`; there are no links."""
        del target, path
        raise VfsError("there are no symbolic links here", code="vfs.unsupported")

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
        del mode, token
        place = self._resolve(path)
        self._require_directory(place)
        old = self.nodes.get(place)
        if place in self.nodes and old is None:
            raise VfsError(f"{path} is a directory", code="vfs.is-directory")
        self._ask(only_if, old, path)
        new = bytearray(b"".join(content))
        self.nodes[place] = new
        return DictFile(new).stat()

    def open_directory(self, path: str) -> DictDirectory:
        """As `VfsDirectory.open_directory`; a view of the same nodes."""
        place = self._resolve(path)
        if self._node(place) is not None:
            raise VfsError(f"{path} is not a directory", code="vfs.not-directory")
        below = DictDirectory()
        below.nodes, below._base = self.nodes, place
        return below

    def close(self) -> None:
        """As `VfsDirectory.close`."""

    def _resolve(self, path: str) -> str:
        return "/".join(part for part in (self._base, *path_parts(path)) if part)

    def _ask(self, only_if: ContentCheck | None, data: bytearray | None, path: str) -> None:
        file = None if data is None else DictFile(data)
        if only_if is not None and not only_if(file):
            raise VfsError(f"{path} is not what was expected", code="vfs.conflict")

    def _node(self, place: str) -> bytearray | None:
        if place not in self.nodes:
            raise VfsNotFoundError(f"there is no {place}")
        return self.nodes[place]

    def _children(self, place: str) -> list[str]:
        prefix = f"{place}/" if place else ""
        inside = (node.removeprefix(prefix) for node in self.nodes if node.startswith(prefix))
        return [name for name in inside if name and "/" not in name]

    def _require_directory(self, place: str) -> None:
        parent = place.rpartition("/")[0]
        if self._node(parent) is not None:
            raise VfsError(f"{parent} is not a directory", code="vfs.not-directory")


def dict_vfs() -> Callable[[str], DictDirectory]:
    """A factory for a `VfsBackendRecord`; each root it opens is a new, empty one."""
    return lambda _root: DictDirectory()
