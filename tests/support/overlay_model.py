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
        is_link: It is a symbolic link; the bytes are those that `link_text` makes of its target.
    """

    data: bytearray
    origin: str | None = None
    is_link: bool = False

    def put(self, offset: int, data: bytes) -> None:
        """Write at a place."""
        self.data.extend(bytes(max(0, offset - len(self.data))))
        self.data[offset : offset + len(data)] = data
        self.origin = None


def link_text(target: str) -> bytes:
    """How trees in tests show a symbolic link."""
    return f"-> {target}".encode()


Tree: TypeAlias = "dict[str, Content | None]"
"""Files, and None for directories, by path; the root is not listed."""


@dataclass
class Model:
    """Both layers.

    Attributes:
        disk: What the person has.
        view: What the guest sees.
        touched: Paths that the overlay has something to say about, or had.
        bases: What the disk had where the person changed it under the overlay's own changes.
        vague: Paths about whose conflicts the model has no opinion any more.
    """

    disk: dict[str, bytes | None] = field(default_factory=dict)
    view: Tree = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    bases: dict[str, bytes | None] = field(default_factory=dict)
    vague: set[str] = field(default_factory=set)

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

    def conflicts(self) -> set[str]:
        """Paths that differ, and where the disk is not what the overlay started from."""
        moved_on = {path for path, base in self.bases.items() if self.disk.get(path) != base}
        return moved_on & self.changes().keys()

    # What the guest does.

    def write(self, path: str, data: bytes, offset: int | None) -> None:
        """Write at an offset, or with None replace everything."""
        content = self._file(path) if offset is not None else self._created(path)
        if offset is None:
            content.data[:] = data
        elif data:
            content.put(offset, data)
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
        if path in self.view:
            self._file(path)
        self.view[path] = Content(bytearray(data))
        self.touched.add(path)

    def unlink(self, path: str) -> None:
        """Remove a file or link."""
        if self.view.get(path) is None:
            raise ModelError
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
        if source == target or (
            self.view[source] is not None and self.view[source] is self.view.get(target)
        ):
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
        if moved is not None:
            moved.origin = None
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

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self._need_parent(path)
        if path in self.view:
            raise ModelError
        self.view[path] = Content(bytearray(link_text(target)), is_link=True)
        self.touched.add(path)

    # What the person does.

    def above(self, path: str) -> list[str]:
        """The directories of a path."""
        names = path.split("/")
        return ["/".join(names[:depth]) for depth in range(1, len(names))]

    def may_make(self, path: str) -> bool:
        """Whether no directory of a path is a file."""
        return all(self.disk.get(directory) is None for directory in self.above(path))

    def may_edit(self, path: str) -> bool:
        """Whether an edit of the disk shows through: nothing around it was touched."""
        related = (
            other == path or path.startswith(f"{other}/") or other.startswith(f"{path}/")
            for other in self.touched
        )
        parent = path.rpartition("/")[0]
        is_there = not parent or (parent in self.disk and self.disk[parent] is None)
        is_file = self.disk.get(path, b"") is not None and not self._is_link(path)
        return is_there and is_file and not any(related)

    def may_clash(self, path: str) -> bool:
        """Whether the disk has a file there that the overlay replaced or removed."""
        if self.disk.get(path) is None or self._is_link(path) or path not in self.changes():
            return False
        # Otherwise it still shows, where it was moved.
        return all(c is None or c.origin != path for c in self.view.values())

    def may_appear(self, path: str) -> bool:
        """Whether the disk has nothing where the overlay has a file, and nobody would see it."""
        parent = path.rpartition("/")[0]
        is_there = not parent or (parent in self.disk and self.disk[parent] is None)
        is_ours = self.view.get(path) is not None and path in self.changes()
        return is_ours and is_there and path not in self.disk and parent not in self.touched

    def edit(self, path: str, data: bytes) -> None:
        """Write a file on the disk that shows through."""
        self.disk[path] = data
        self.view[path] = Content(bytearray(data), origin=path)

    def remove(self, path: str) -> None:
        """Remove a file on the disk that shows through."""
        del self.disk[path], self.view[path]

    def clash(self, path: str, data: bytes | None) -> None:
        """Write, or with None remove, a file on the disk that does not show."""
        self.bases.setdefault(path, self.disk.get(path))
        if data is None:
            del self.disk[path]
        else:
            self.disk[path] = data
        self.forget_bases()

    def forget_bases(self) -> None:
        """What is neither here nor there may show through again, or not."""
        self.vague |= {p for p in self.bases if p not in self.disk and p not in self.view}

    # What follows from reality.

    def settle(self, committed: set[str]) -> None:
        """The overlay says nothing about some paths any more."""
        self.touched -= committed
        for path in committed:
            self.bases.pop(path, None)
            self._show_through(path)

    def adopt(self, shown: dict[str, bytes | None], forgotten: set[str]) -> None:
        """The view is like this after some changes were forgotten."""
        for path in list(self.view):
            if path not in shown:
                del self.view[path]
        for path, data in shown.items():
            now = self.view.get(path)
            if data is None:
                self.view[path] = None
            elif now is None or bytes(now.data) != data:
                self._show_through(path)
        for path in forgotten:
            self.bases.pop(path, None)
            if path in self.view:
                self._show_through(path)
        self.vague |= self.bases.keys()

    def forget_everything(self) -> None:
        """The overlay has nothing to say."""
        for left in (self.touched, self.bases, self.vague):
            left.clear()
        for path in self.view:
            self._show_through(path)

    def has_links(self) -> bool:
        """Whether a file has several names."""
        files = [id(content) for content in self.view.values() if content is not None]
        return len(files) != len(set(files))

    def _show_through(self, path: str) -> None:
        """A path shows what is on the disk, a file of its own."""
        data = self.disk.get(path)
        if path in self.disk and data is not None:
            self.view[path] = Content(bytearray(data), origin=path, is_link=self._is_link(path))

    def _is_link(self, path: str) -> bool:
        return (self.disk.get(path) or b"").startswith(b"-> ")

    def _file(self, path: str) -> Content:
        self._need_parent(path)
        content = self.view.get(path)
        if content is None or content.is_link:
            raise ModelError
        return content

    def _created(self, path: str) -> Content:
        self._need_parent(path)
        content = self.view.setdefault(path, Content(bytearray()))
        if content is None or content.is_link:
            raise ModelError
        return content

    def _need_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and self.view.get(parent, 0) is not None:
            raise ModelError

    def _below(self, path: str) -> list[str]:
        return [other for other in self.view if other.startswith(f"{path}/")]
