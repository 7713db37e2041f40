"""The state of the overlay in memory, and how it looks at a lower layer."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from astrid_conformance.fakes.vfs import flat
from astrid_conformance.fakes.vfs_file import Node
from astrid_hookspecs.errors import VfsNotFoundError
from astrid_hookspecs.vfs import OverlaySpec, VfsDirectory

Signature: TypeAlias = "tuple[str, object, int] | None"
_FILE: Final = "overlay.pickle"
_PAGE: Final = 100_000


class OverlayState:
    """What all handles of one overlay share.

    Args:
        spec: As for `VfsOverlayRecord.factory`.

    Attributes:
        upper: What differs, by path; None for what was removed. A directory hides what is below.
        bases: What the lower layer had at those paths.
    """

    def __init__(self, spec: OverlaySpec) -> None:
        self.lower = spec.lower
        self.lock = threading.RLock()
        self.upper: dict[str, Node | None] = {}
        self.bases: dict[str, Signature] = {}
        self._meter = spec.meter
        self._file = spec.store / _FILE
        self._charged = 0
        if self._file.exists():
            self.upper, self.bases = pickle.loads(self._file.read_bytes())  # noqa: S301 - our own
        self.settle(self.upper, self.bases)

    def settle(self, upper: dict[str, Node | None], bases: dict[str, Signature]) -> None:
        """Charge what a new state takes, then make it the state, and keep it on the disk."""
        self.grow(usage(upper) - self._charged)
        self.upper, self.bases = upper, bases
        self.save()

    def grow(self, size: int) -> None:
        """Charge bytes, or give them back."""
        self._meter.charge(size)
        self._charged += size

    def save(self) -> None:
        """Keep the state on the disk."""
        new = self._file.with_suffix(".new")
        new.write_bytes(pickle.dumps((self.upper, self.bases)))
        new.replace(self._file)

    def view(self) -> Node:
        """Both layers as one tree; what is in the upper one is in it by reference."""
        root = copy_lower(self.lower, "")
        for path, node in sorted(self.upper.items()):
            above, _, name = path.rpartition("/")
            parent = _make_parent(root, above, create=node is not None)
            if node is None:
                parent.entries.pop(name, None)
            else:
                node.entries.clear()
                parent.entries[name] = node
        return root

    def record(self, lower: Node, before: Mapping[str, Node], after: Mapping[str, Node]) -> None:
        """Keep what a change of the view did.

        Args:
            lower: A copy of the lower layer.
            before: The view as it was, by path.
            after: The view as it is, by path.
        """
        upper, bases = dict(self.upper), dict(self.bases)
        had = {path: signature(node) for path, node in flat(lower)}
        for path in {*before, *after}:
            if before.get(path) is not after.get(path):
                upper[path] = after.get(path)
                bases.setdefault(path, had.get(path))
                if upper[path] is None and bases[path] is None:
                    del upper[path], bases[path]
        self.settle(upper, bases)


def usage(upper: Mapping[str, Node | None]) -> int:
    """Bytes of content in the upper layer."""
    return sum(len(node.data) for node in {node for node in upper.values() if node is not None})


def signature(node: Node | None) -> Signature:
    """What of a node makes a difference."""
    if node is None:
        return None
    return node.kind, node.value(), node.mode if node.kind == "regular" else 0


def is_below(path: str, paths: Sequence[str]) -> bool:
    """Whether a path is at or below one of the others."""
    return any(not each or path == each or path.startswith(f"{each}/") for each in paths)


def copy_lower(lower: VfsDirectory, path: str) -> Node:
    """A copy of a directory and all below it that is listed."""
    found = lower.stat(path)
    node = Node(found.kind, found.mode, stamp=found.stamp)
    if found.kind == "regular":
        file = lower.open(path, "read")
        node.data.extend(file.read_at(0, found.size))
        file.close()
    elif found.kind == "symlink":
        node.target = lower.readlink(path)
    elif found.kind == "directory":
        for name in lower.names(path, after=None, limit=_PAGE):
            node.entries[name] = copy_lower(lower, f"{path}/{name}" if path else name)
    return node


def apply(lower: VfsDirectory, path: str, node: Node | None) -> None:
    """Bring one path of the lower layer to what the overlay has there."""
    kind = _kind(lower, path)
    if kind == "directory" and (node is None or node.kind != "directory"):
        lower.rmdir(path)
    elif kind is not None and (node is None or node.kind != "regular" or kind != "regular"):
        lower.unlink(path)
    if node is None:
        return
    if node.kind == "directory":
        lower.mkdir(path)
    elif node.kind == "symlink":
        lower.symlink(node.target, path)
    else:
        lower.replace(path, [bytes(node.data)], mode=node.mode)


def _kind(lower: VfsDirectory, path: str) -> str | None:
    try:
        return lower.stat(path).kind
    except VfsNotFoundError:
        return None


def _make_parent(root: Node, path: str, *, create: bool) -> Node:
    """The directory of that path in the view; one that nobody sees when it is gone."""
    node = root
    for part in path.split("/") if path else ():
        child = node.entries.get(part)
        if child is None or child.kind != "directory":
            child = Node("directory", 0o755)
            if create:
                node.entries[part] = child
        node = child
    return node
