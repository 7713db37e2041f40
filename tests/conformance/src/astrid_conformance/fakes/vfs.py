"""A file system in memory, for tests of what uses one: the full contract, links included."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from astrid_conformance.fakes.vfs_file import DictFile, Node
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import ContentCheck, NodeKind, NodeStat, OpenMode, VfsFile
from astrid_hookspecs.vfs_paths import is_temporary_name, path_parts, temporary_name

CAPABILITIES: Final = frozenset({"hard-link", "symlink", "modes", "atomic-replace"})
_ATTEMPTS: Final = 16
_CREATES: Final = frozenset({"write", "append"})


class DictDirectory:
    """Implements `VfsDirectory` with every optional capability.

    Args:
        node: The directory; None for a new file system.
        lock: Of the file system.

    Attributes:
        node: The directory.
        lock: Held while the tree is changed or walked.
    """

    def __init__(self, node: Node | None = None, lock: threading.RLock | None = None) -> None:
        self.node = Node("directory", 0o755) if node is None else node
        self.lock = threading.RLock() if lock is None else lock

    @property
    def nodes(self) -> dict[str, bytes | str | None]:
        """Contents of files, targets of links, None for directories, by path; a copy."""
        return {path: node.value() for path, node in flat(self.node)}

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        with self.lock:
            parts = path_parts(path)
            if not parts:
                raise wrong_kind("directory")
            parent = self._parent(parts)
            node = parent.entries.get(parts[-1])
            if node is None and mode in _CREATES:
                node = parent.entries[parts[-1]] = Node("regular", 0o644)
            if _need(node).kind != "regular":
                raise wrong_kind(_need(node).kind)
            file = DictFile(_need(node), mode, self.lock)
            if mode == "write":
                file.truncate(0)
            return file

    def open_directory(self, path: str) -> DictDirectory:
        """As `VfsDirectory.open_directory`."""
        with self.lock:
            return DictDirectory(_directory(self._find(path)), self.lock)

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        with self.lock:
            return self._find(path).stat()

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        with self.lock:
            found = _directory(self._find(path)).entries
            shown = (name for name in found if not is_temporary_name(name))
            # Text sorts by code points, which is the order of its UTF-8 bytes.
            return sorted(name for name in shown if after is None or name > after)[:limit]

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        self._add(path, Node("directory", 0o755))

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        try:
            is_target = bool(target.encode()) and "\0" not in target
        except UnicodeEncodeError:
            is_target = False
        if not is_target:
            raise VfsError("the target is no path", code="vfs.invalid-path")
        self._add(path, Node("symlink", 0o777, target=target))

    def special(self, path: str, kind: NodeKind) -> None:
        """Make a device, pipe or socket, which no method of the contract does."""
        self._add(path, Node(kind, 0o600))

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        with self.lock:
            node = self._find(source)
            if node.kind != "regular":
                raise wrong_kind(node.kind)
            self._add(target, node)

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        with self.lock:
            node = self._find(path)
        if node.kind != "symlink":
            raise VfsError("it is no symbolic link", code="vfs.invalid-path")
        return node.target

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`; there are no temporaries."""
        temporary_name("0" if token is None else token)
        with self.lock:
            parent, name = self._place(path)
            node = _need(parent.entries.get(name))
            if node.kind == "directory":
                raise wrong_kind("directory")
            self._ask(only_if, parent, name)
            del parent.entries[name]

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        with self.lock:
            parent, name = self._place(path)
            if _directory(_need(parent.entries.get(name))).entries:
                raise VfsError("the directory is not empty", code="vfs.not-empty")
            del parent.entries[name]

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`."""
        with self.lock:
            old_parent, old_name = self._place(source)
            new_parent, new_name = self._place(target)
            node = _need(old_parent.entries.get(old_name))
            if path_parts(target)[: len(path_parts(source))] == path_parts(source):
                if source == target:
                    return
                raise VfsError("a directory cannot move below itself", code="vfs.invalid-path")
            _check_replaced(node, new_parent.entries.get(new_name))
            if new_parent.entries.get(new_name) is not node:  # two names of one file both stay
                del old_parent.entries[old_name]
                new_parent.entries[new_name] = node

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`; there are no temporaries."""
        temporary_name("0" if token is None else token)
        with self.lock:
            self._replaceable(path)
        new = Node("regular", 0o644, data=bytearray(b"".join(content)))
        with self.lock:
            parent, name, old = self._replaceable(path)
            if mode is not None:
                new.mode = mode & 0o777
            elif old is not None:
                new.mode = old.mode
            self._ask(only_if, parent, name)
            parent.entries[name] = new
            return new.stat()

    def close(self) -> None:
        """As `VfsDirectory.close`; there is nothing to release."""

    def _replaceable(self, path: str) -> tuple[Node, str, Node | None]:
        parent, name = self._place(path)
        old = parent.entries.get(name)
        if old is not None and old.kind != "regular":
            raise wrong_kind(old.kind)
        return parent, name, old

    def _ask(self, only_if: ContentCheck | None, parent: Node, name: str) -> None:
        """Ask until the file that was looked at is the one under the name."""
        if only_if is None:
            return
        for _ in range(_ATTEMPTS):
            node = parent.entries.get(name)
            stamp = None if node is None else node.stamp
            is_file = node is not None and node.kind == "regular"
            file = DictFile(_need(node), "read", self.lock) if is_file else None
            if not only_if(file):
                raise VfsError("the file is not what was expected", code="vfs.conflict")
            now = parent.entries.get(name)
            if now is node and (now is None or now.stamp == stamp):
                return
        raise VfsError("the file changes all the time", code="vfs.conflict")

    def _add(self, path: str, node: Node) -> None:
        with self.lock:
            parent, name = self._place(path)
            if name in parent.entries:
                raise VfsError("the name is taken", code="vfs.already-exists")
            parent.entries[name] = node

    def _find(self, path: str) -> Node:
        parts = path_parts(path)
        return _need(self._parent(parts).entries.get(parts[-1])) if parts else self.node

    def _place(self, path: str) -> tuple[Node, str]:
        parts = path_parts(path)
        if not parts:
            raise VfsError("the root itself stays as it is", code="vfs.access")
        return self._parent(parts), parts[-1]

    def _parent(self, parts: tuple[str, ...]) -> Node:
        node = self.node
        for part in parts[:-1]:
            node = _directory(_need(node.entries.get(part)))
        return node


def flat(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """A node and all below it with their paths, each directory before what it holds."""
    yield path, node
    for name, child in sorted(node.entries.items()):
        yield from flat(child, f"{path}/{name}" if path else name)


def wrong_kind(kind: NodeKind) -> VfsError:
    """The refusal of a node that is no regular file."""
    codes = {"directory": "vfs.is-directory", "symlink": "vfs.link"}
    return VfsError(f"it is a {kind}, not a regular file", code=codes.get(kind, "vfs.access"))


def _need(node: Node | None) -> Node:
    if node is None:
        raise VfsNotFoundError("there is no such file or directory")
    return node


def _directory(node: Node) -> Node:
    if node.kind == "symlink":
        raise wrong_kind("symlink")
    if node.kind != "directory":
        raise VfsError("it is not a directory", code="vfs.not-directory")
    return node


def _check_replaced(node: Node, old: Node | None) -> None:
    """Refuse a rename that would replace something of another kind, or lose something."""
    if old is None:
        return
    if node.kind != "directory" and old.kind == "directory":
        raise wrong_kind("directory")
    if node.kind == "directory":
        if old.kind != "directory":
            raise VfsError("a directory replaces only a directory", code="vfs.not-directory")
        if old.entries:
            raise VfsError("the directory is not empty", code="vfs.not-empty")


def dict_vfs() -> Callable[[str], DictDirectory]:
    """A factory for a `VfsBackendRecord`; each root it opens is a new, empty one."""
    return lambda _root: DictDirectory()
