"""Changes of the upper layer that happen together or not at all, in memory and in the database."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType

from astrid_hookspecs.vfs import NodeKind
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.nodes import WHITEOUT, Node


class Edit:
    """One transaction. A context manager: leaving it by an error takes everything back.

    Inside another one it joins that, so that several steps are one.

    Args:
        layers: Their lock is held.
        durable: Whether leaving it waits for the disk.
        revokes: Whether open files that lose a name are closed, instead of living on.
    """

    def __init__(self, layers: Layers, *, durable: bool = False, revokes: bool = False) -> None:
        self.layers = layers
        self._durable = durable
        self._revokes = revokes
        self._undo: list[Callable[[], object]] = []
        self._after: list[Callable[[], object]] = []
        self._unlinked: list[Node] = []
        self._outer: Edit | None = None

    def __enter__(self) -> Edit:  # noqa: PYI034 - not itself, inside another one
        """Begin, or join the one that is under way."""
        self._outer = self.layers.edit
        if self._outer is not None:
            return self._outer
        self.layers.db.begin(durable=self._durable)
        self.layers.edit = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit, or take everything back."""
        if self._outer is not None:
            return
        self.layers.edit = None
        if error is not None:
            self._take_back()
            return
        try:
            if self.layers.db.durable:
                # A name of a content that is lost, while the database knows it, is a damaged store.
                self.layers.blobs.sync()
            self.layers.db.commit()
        except BaseException:
            self._take_back()
            raise
        self._clean_up()

    def on_failure(self, call: Callable[[], object]) -> None:
        """What else to take back."""
        self._undo.append(call)

    def on_success(self, call: Callable[[], object]) -> None:
        """What to do when all of it has happened."""
        self._after.append(call)

    def make(
        self,
        kind: NodeKind,
        *,
        mode: int,
        lower: str | None = None,
        target: str = "",
        number: int | None = None,
    ) -> Node:
        """A new node, which nothing names yet.

        Args:
            kind: What it is.
            mode: Permission bits.
            lower: As `Node.lower`.
            target: As `Node.target`.
            number: That of its content, when there already is one.
        """
        node = Node(
            next(self.layers.ids) if number is None else number,
            kind,
            mode=mode,
            lower=lower,
            target=target,
        )
        if kind != "regular":
            node.modified_ns = time.time_ns()
        self._run(
            "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?)",
            node.id,
            kind,
            mode,
            lower,
            target,
            node.modified_ns,
        )
        return node

    def put(self, parent: Node, name: str, node: Node) -> None:
        """Let a name lead to a node, or with `WHITEOUT` to nothing."""
        self._run(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)",
            parent.id,
            name,
            None if node is WHITEOUT else node.id,
        )
        node.links += 1
        self._change(parent, name, node)
        if node is not WHITEOUT:
            old_home, node.home = node.home, (parent, name)
            self._undo.append(lambda: setattr(node, "home", old_home))

    def cut(self, parent: Node, name: str) -> None:
        """Let a name show the lower layer again."""
        self._run("DELETE FROM entries WHERE parent = ? AND name = ?", parent.id, name)
        self._change(parent, name, None)

    def set_lower(self, node: Node, lower: str | None) -> None:
        """Change `Node.lower`."""
        self._run("UPDATE nodes SET lower = ? WHERE id = ?", lower, node.id)
        old, node.lower = node.lower, lower
        self._undo.append(lambda: setattr(node, "lower", old))

    def _change(self, parent: Node, name: str, node: Node | None) -> None:
        old = parent.entries.get(name)
        if node is None:
            parent.entries.pop(name, None)
        else:
            parent.entries[name] = node
        parent.order = None
        self.layers.names_held += (node is not None) - (old is not None)

        def undo() -> None:
            parent.order = None
            self.layers.names_held -= (node is not None) - (old is not None)
            if node is not None:
                node.links -= 1
            if old is None:
                parent.entries.pop(name, None)
            else:
                parent.entries[name] = old

        self._undo.append(undo)
        if old is not None:
            self._unlink(old)

    def _unlink(self, node: Node) -> None:
        """One entry less; the last one takes the node, and all below it, along."""
        stack = [node]
        while stack:
            gone = stack.pop()
            gone.links -= 1
            self._unlinked.append(gone)
            self._undo.append(lambda gone=gone: setattr(gone, "links", gone.links + 1))  # type: ignore[misc]
            if gone is WHITEOUT or gone.links > 0:
                continue
            stack += gone.entries.values()
            self._count_out(len(gone.entries))
            self._run("DELETE FROM entries WHERE parent = ?", gone.id)
            self._run("DELETE FROM nodes WHERE id = ?", gone.id)

    def _count_out(self, names: int) -> None:
        self.layers.names_held -= names
        self._undo.append(
            lambda: setattr(self.layers, "names_held", self.layers.names_held + names)
        )

    def _run(self, sql: str, *values: object) -> None:
        self.layers.db.execute(sql, *values)

    def _take_back(self) -> None:
        try:
            self.layers.db.abort()
        finally:
            for undo in reversed(self._undo):
                undo()

    def _clean_up(self) -> None:
        for call in self._after:
            call()
        for node in self._unlinked:
            if self._revokes:
                for handle in list(node.handles):
                    handle.revoke()
            if node.links == 0 and not node.handles:
                drop_content(self.layers, node)


def drop_content(layers: Layers, node: Node) -> None:
    """Delete the content of a node that nothing names and nobody has open."""
    if node.has_content and node.size >= 0:
        # What cannot be deleted now is collected when the store is opened the next time.
        with contextlib.suppress(OSError):
            layers.blobs.remove(node.id, node.size)
        node.size = -1
