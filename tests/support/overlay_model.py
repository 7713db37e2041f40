"""A plain model of an overlay: what a guest sees and what is on the disk, in two dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


class ModelError(Exception):
    """The operation has to fail."""


@dataclass(eq=False)
class Content:
    """A file's bytes; names that are hard links share one object.

    Attributes:
        data: The bytes.
        origin: The path of the disk whose file this still is; None once the overlay has its own.
    """

    data: bytearray
    origin: str | None = None


Tree: TypeAlias = "dict[str, Content | None]"
"""Files, and None for directories, by path; the root is not listed."""


@dataclass
class Model:
    """Both layers.

    Attributes:
        disk: What the person has.
        view: What the guest sees.
        touched: Paths that the overlay has something to say about, or had.
    """

    disk: dict[str, bytes | None] = field(default_factory=dict)
    view: Tree = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def shown(self) -> dict[str, bytes | None]:
        """The view as plain bytes."""
        return {p: None if c is None else bytes(c.data) for p, c in self.view.items()}

    def changes(self) -> dict[str, str]:
        """What a commit would do, by path."""
        shown, found = self.shown(), {}
        for path in self.disk.keys() | shown.keys():
            if path not in shown:
                found[path] = "deleted"
            elif path not in self.disk:
                found[path] = "added"
            elif shown[path] != self.disk[path]:
                found[path] = "modified"
        return found

    # What the guest does.

    def write(self, path: str, data: bytes, offset: int | None) -> None:
        """Write at an offset, or with None replace everything."""
        content = self._file(path) if offset is not None else self._created(path)
        if offset is None:
            content.data[:] = data
        elif data:
            content.data.extend(bytes(max(0, offset - len(content.data))))
            content.data[offset : offset + len(data)] = data
        if data or offset is None:
            content.origin = None
        self.touched.add(path)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file, which is created."""
        content = self._created(path)
        content.data.extend(data)
        if data:
            content.origin = None
        self.touched.add(path)

    def truncate(self, path: str, size: int) -> None:
        """Cut or extend."""
        content = self._file(path)
        del content.data[size:]
        content.data.extend(bytes(size - len(content.data)))
        content.origin = None
        self.touched.add(path)

    def replace(self, path: str, data: bytes) -> None:
        """A new file under the name."""
        self._need_parent(path)
        if path in self.view and self.view[path] is None:
            raise ModelError
        self.view[path] = Content(bytearray(data))
        self.touched.add(path)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self._file(path)
        del self.view[path]
        self.touched.add(path)

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self._need_parent(path)
        if path in self.view:
            raise ModelError
        self.view[path] = None
        self.touched.add(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        if self.view.get(path, 0) is not None or self._below(path):
            raise ModelError
        del self.view[path]
        self.touched.add(path)

    def rename(self, source: str, target: str) -> None:
        """Move a file or directory."""
        if source not in self.view:
            raise ModelError
        self._need_parent(target)
        if source == target:
            return
        if target.startswith(f"{source}/"):
            raise ModelError
        moved, there = self.view[source], self.view.get(target, 0)
        if there != 0 and ((moved is None) != (there is None) or self._below(target)):
            raise ModelError
        for path in [source, *self._below(source)]:
            new = target + path.removeprefix(source)
            self.view[new] = self.view.pop(path)
            self.touched |= {path, new}
        for path in self.disk:
            if path.startswith(f"{source}/"):
                self.touched |= {path, target + path.removeprefix(source)}

    def link(self, source: str, target: str) -> None:
        """Another name."""
        content = self._file(source)
        self._need_parent(target)
        if target in self.view:
            raise ModelError
        content.origin = None
        self.view[target] = content
        self.touched |= {source, target}

    # What the person does.

    def may_edit(self, path: str) -> bool:
        """Whether an edit of the disk shows through: nothing around it was touched."""
        related = (
            other == path or path.startswith(f"{other}/") or other.startswith(f"{path}/")
            for other in self.touched
        )
        parent = path.rpartition("/")[0]
        is_there = not parent or (parent in self.disk and self.disk[parent] is None)
        return is_there and self.disk.get(path, b"") is not None and not any(related)

    def may_clash(self, path: str) -> bool:
        """Whether the disk has a file there that the overlay replaced or removed."""
        if self.disk.get(path) is None:
            return False
        if any(c is not None and c.origin == path for c in self.view.values()):
            return False  # it still shows, here or where it was moved
        return path in self.touched

    def edit(self, path: str, data: bytes) -> None:
        """Write a file on the disk that shows through."""
        self.disk[path] = data
        self.view[path] = Content(bytearray(data), origin=path)

    # What follows from reality.

    def settle(self, disk: dict[str, bytes | None], gone: set[str]) -> None:
        """The disk is like this now, and the overlay says nothing about some paths any more."""
        self.disk = disk
        self.touched -= gone
        for path in gone:
            content = self.view.get(path)
            if content is not None:
                self.view[path] = Content(bytearray(content.data), origin=path)

    def adopt(self, shown: dict[str, bytes | None]) -> None:
        """The view is like this now; contents that are the same stay the same objects."""
        for path in list(self.view):
            if path not in shown:
                del self.view[path]
        for path, data in shown.items():
            now = self.view.get(path)
            if data is None:
                self.view[path] = None
            elif now is None or bytes(now.data) != data:
                self.view[path] = Content(bytearray(data))

    def _file(self, path: str) -> Content:
        self._need_parent(path)
        content = self.view.get(path)
        if content is None:
            raise ModelError
        return content

    def _created(self, path: str) -> Content:
        self._need_parent(path)
        content = self.view.setdefault(path, Content(bytearray()))
        if content is None:
            raise ModelError
        return content

    def _need_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and self.view.get(parent, 0) is not None:
            raise ModelError

    def _below(self, path: str) -> list[str]:
        return [other for other in self.view if other.startswith(f"{path}/")]
