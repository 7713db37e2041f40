"""Which files of a home are open, so that a content without a name is charged until it is gone.

Trusted with nothing but the count: a file that is removed while somebody has it open stays on the
disk, and may even grow there, until it is closed.
"""

from __future__ import annotations


class OpenNode:
    """A file that is open, however often.

    Attributes:
        path: Of the home; None when it has no name any more.
        handles: How often it is open.
        size: Bytes of content that are charged for it without a name.
    """

    __slots__ = ("handles", "path", "size")

    def __init__(self, path: str) -> None:
        self.path: str | None = path
        self.handles = 0
        self.size = 0


class OpenNodes:
    """The open files of one home. The caller serialises its use.

    Attributes:
        nameless_bytes: What those without a name hold; nobody finds that by looking at the tree.
    """

    def __init__(self) -> None:
        self.nameless_bytes = 0
        self._nodes: dict[str, OpenNode] = {}

    def enter(self, path: str) -> OpenNode:
        """One more handle of the file at a path."""
        node = self._nodes.setdefault(path, OpenNode(path))
        node.handles += 1
        return node

    def leave(self, node: OpenNode) -> int:
        """One handle less; the bytes that go with it."""
        node.handles -= 1
        if node.handles:
            return 0
        if node.path is not None:
            del self._nodes[node.path]
            return 0
        self.nameless_bytes -= node.size
        return node.size

    def grew(self, node: OpenNode, growth_bytes: int) -> None:
        """The content of an open file grew, or shrank when negative."""
        if node.path is None:
            node.size += growth_bytes
            self.nameless_bytes += growth_bytes

    def lost_name(self, path: str, size: int) -> bool:
        """A path leads to another file now, or to none; whether its content stays on the disk."""
        node = self._nodes.pop(path, None)
        if node is None:
            return False
        node.path = None
        self.grew(node, size)
        return True

    def moved(self, source: str, target: str) -> None:
        """What was at and below a path has another one now."""
        moving = [path for path in self._nodes if path == source or path.startswith(f"{source}/")]
        for path in moving:
            node = self._nodes.pop(path)
            node.path = target + path[len(source) :]
            self._nodes[node.path] = node
