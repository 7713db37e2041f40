"""The upper layer as a tree in memory: what the overlay has to say about names.

A name that no directory node mentions shows the lower layer. So a lookup costs a dictionary access
per part of the path, and none below a directory in which nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import NodeKind
from astrid_hookspecs.vfs_paths import path_parts

if TYPE_CHECKING:
    from astrid_vfs_overlay.handles import UpperFile

ROOT_ID: Final = 1


class Node:
    """A node of the upper layer.

    Attributes:
        id: Never used again.
        kind: What it is.
        mode: Permission bits.
        lower: Of a directory, the lower directory whose names show through; of anything else, the
            lower node that it stands for without having copied it. None: nothing does.
        target: Of a symbolic link.
        size: Bytes of content of a file that has some of its own.
        modified_ns: Last change; None: that of the content's file.
        entries: Of a directory, by name; `WHITEOUT` where the lower name is hidden.
        order: Names of its entries that are shown, in byte order; None: to be sorted again.
        links: Entries that name it.
        home: Where its latest entry is.
        handles: Open files.
        version: Counts the changes of the content in this process.
        digest: BLAKE3 of the content, for as long as it is known.
        copy_of: The lower path whose content it still has, unchanged since it was copied here.
    """

    __slots__ = (
        "copy_of",
        "digest",
        "entries",
        "handles",
        "home",
        "id",
        "kind",
        "links",
        "lower",
        "mode",
        "modified_ns",
        "order",
        "size",
        "target",
        "version",
    )

    def __init__(
        self, node_id: int, kind: NodeKind, *, mode: int, lower: str | None, target: str = ""
    ) -> None:
        self.id = node_id
        self.kind: NodeKind = kind
        self.mode = mode
        self.lower = lower
        self.target = target
        self.size = 0
        self.modified_ns: int | None = None
        self.entries: dict[str, Node] = {}
        self.order: list[str] | None = None
        self.links = 0
        self.home: tuple[Node, str] | None = None
        self.handles: set[UpperFile] = set()
        self.version = 0
        self.digest: bytes | None = None
        self.copy_of: str | None = None

    @property
    def has_content(self) -> bool:
        """Whether there is a file of its own with the content."""
        return self.kind == "regular" and self.lower is None


WHITEOUT: Final = Node(0, "type-unknown", mode=0, lower=None)
"""Stands in `Node.entries` for a name that is gone."""


class Place(NamedTuple):
    """What a path of the overlay leads to.

    Attributes:
        node: The node of the upper layer, if there is one.
        lower: The path of the lower layer that shows there, if one does.
    """

    node: Node | None
    lower: str | None


ABSENT: Final = Place(None, None)


def join(directory: str, name: str) -> str:
    """The path of a name, or of a path, below a directory."""
    return f"{directory}/{name}" if directory else name


def parts(path: str) -> tuple[str, ...]:
    """The names of a path that the overlay itself put together, however long it has become."""
    return tuple(path.split("/")) if path else ()


def split(path: str) -> tuple[str, str]:
    """The directory of a path, and its last name."""
    directory, _, name = path.rpartition("/")
    return directory, name


def is_within(path: str, top: str) -> bool:
    """Whether a path is `top` or below it."""
    return not top or path == top or path.startswith(f"{top}/")


def ancestors(path: str) -> Iterator[str]:
    """The directories above a path, from the top, without the root."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def names_of(path: str) -> tuple[str, ...]:
    """As `path_parts`, for paths that can be stored.

    Raises:
        PathEscapeError: As `path_parts`.
        VfsError: As `path_parts`; `vfs.invalid-path` also for what has no UTF-8 form.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise VfsError("a path is UTF-8 text", code="vfs.invalid-path") from error
    return path_parts(path)


def place_below(directory: Node, name: str) -> Place:
    """What a name in a directory of the upper layer leads to."""
    child = directory.entries.get(name)
    if child is None:
        return ABSENT if directory.lower is None else Place(None, join(directory.lower, name))
    if child is WHITEOUT:
        return ABSENT
    return Place(child, None if child.kind == "directory" else child.lower)


def find(root: Node, names: Sequence[str]) -> Place:
    """Follow a path; whether the lower layer has what shows there is not looked at.

    Raises:
        VfsError: `vfs.link` or `vfs.not-directory` where something of the upper layer on the way
            is no directory.
    """
    node = root
    last = len(names) - 1
    for index, name in enumerate(names):
        child = node.entries.get(name)
        if child is None:
            if node.lower is None:
                return ABSENT
            return Place(None, join(node.lower, "/".join(names[index:])))
        if child is WHITEOUT:
            return ABSENT
        if child.kind != "directory":
            if index == last:
                return Place(child, child.lower)
            raise not_directory(child.kind)
        node = child
    return Place(node, None)


def not_directory(kind: NodeKind) -> VfsError:
    """The error for a path that leads through something else than a directory."""
    if kind == "symlink":
        return VfsError("a part of the path is a symbolic link", code="vfs.link")
    return VfsError("a part of the path is not a directory", code="vfs.not-directory")


def directories(top: Node, path: str) -> Iterator[tuple[str, Node]]:
    """The directory nodes at and below a node, with their paths, parents first."""
    stack = [(path, top)]
    while stack:
        at, node = stack.pop()
        yield at, node
        stack += [
            (join(at, name), child)
            for name, child in node.entries.items()
            if child.kind == "directory"
        ]


def redirects(root: Node) -> Iterator[tuple[str, str]]:
    """Paths that show something of another lower path, with that path."""
    for path, node in directories(root, ""):
        if node.lower is not None and node.lower != path:
            yield path, node.lower
        for name, child in node.entries.items():
            if child.kind != "directory" and child.lower is not None:
                yield join(path, name), child.lower
