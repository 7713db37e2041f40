"""Where a guest's path leads: `..` and symbolic links resolved, inside one mount.

Trusted with the root: no answer lies outside it. A path is walked name by name over the names
walked so far; `..` takes the last one away, a link puts its target in front of the rest. What comes
out is text that no link stands in any more; the gate decides about it, and the backend refuses it
should a link have appeared in the meantime (docs/adr/0006).

An absolute target of a link is read on the host: one below the mount's own root is followed, every
other one leaves the mount. Spec: host-abi 5.1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from astrid_core.domain.guest_path import PARENT, check_path_text, split_names
from astrid_hookspecs.errors import PathEscapeError, VfsError
from astrid_hookspecs.vfs import NodeStat, VfsDirectory

MAX_LINKS: Final = 40


class Resolved(NamedTuple):
    """Where a path leads.

    Attributes:
        parts: Canonical names from the root. The last ones need not exist.
        problem: Why the path leads nowhere; `parts` is how far it went, for the gate, which is
            asked before anybody learns of the problem. None when it leads to `parts`.
    """

    parts: tuple[str, ...]
    problem: VfsError | None = None


class Resolver:
    """Resolves paths below one root.

    Args:
        root: The mount's directory.
        physical: Absolute canonical path of the root on the host; None when it has none.
    """

    def __init__(self, root: VfsDirectory, *, physical: str | None) -> None:
        self._root = root
        self._physical = physical

    def resolve(self, parts: tuple[str, ...], *, follow: bool) -> Resolved:
        """Resolve a path; one system call when there is neither a link nor `..` in it.

        Args:
            parts: Names and `..`.
            follow: Also when the last name is a link.

        Raises:
            PathEscapeError: It leads above the root.
            VfsError: `vfs.link`, when the tree changed meanwhile: try again.
        """
        if PARENT in parts:
            return self._walk(parts, follow=follow)
        try:
            node = self._root.stat("/".join(parts))
        except VfsError as error:
            if error.code != "vfs.link":
                return Resolved(parts)  # no link up to there; the operation says what is wrong
        else:
            if not (follow and node.kind == "symlink"):
                return Resolved(parts)
        return self._walk(parts, follow=follow)

    def resolve_link(self, link: tuple[str, ...], text: str) -> Resolved:
        """Where a link leads; when that is a link again, the answer is that one.

        Args:
            link: The link itself, canonical.
            text: What it says.

        Raises:
            PathEscapeError, VfsError: As `resolve`; `vfs.invalid-path` when no path reads like it.
        """
        start, names = self._target(link, text)
        return self._walk(names, follow=False, start=start)

    def _walk(
        self, parts: tuple[str, ...], *, follow: bool, start: tuple[str, ...] = ()
    ) -> Resolved:
        done, todo = list(start), list(reversed(parts))
        links = 0
        while todo:
            name = todo.pop()
            if name == PARENT:
                if not done:
                    raise _escape()
                done.pop()
                continue
            done.append(name)
            node = self._look(done)
            if isinstance(node, VfsError):
                return _stopped(done, todo, node)
            if node.kind == "symlink" and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    return Resolved(tuple(done), _invalid("more than 40 links on the way"))
                problem = self._enter(done, todo)
                if problem is not None:
                    return Resolved(tuple(done), problem)
            elif node.kind != "directory" and todo:
                error = VfsError("a directory was needed", code="vfs.not-directory")
                return _stopped(done, todo, error)
        return Resolved(tuple(done))

    def _look(self, done: list[str]) -> NodeStat | VfsError:
        try:
            return self._root.stat("/".join(done))
        except VfsError as error:
            if error.code == "vfs.link":
                raise
            return error

    def _enter(self, done: list[str], todo: list[str]) -> VfsError | None:
        """Replace the link at the end of `done` by what it stands for."""
        try:
            text = self._root.readlink("/".join(done))
        except VfsError as error:
            raise VfsError("a link changed while it was read", code="vfs.link") from error
        try:
            start, names = self._target(tuple(done), text)
        except VfsError as error:
            return error
        done[:] = start
        todo.extend(reversed(names))
        return None

    def _target(self, link: tuple[str, ...], text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """From where the text of a link is read, and its names."""
        check_path_text(text)
        names = split_names(text)
        if text.startswith("/"):
            return (), self._from_root(names)
        return link[:-1], names

    def _from_root(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if self._physical is None:
            raise _escape()
        root = tuple(part for part in self._physical.split("/") if part)
        if names[: len(root)] != root:
            raise _escape()
        return names[len(root) :]


def _stopped(done: list[str], todo: list[str], error: VfsError) -> Resolved:
    """Behind what is missing there are no links; but `..` there means nothing.

    A rest that would lead above the root escapes whether or not something is there: otherwise the
    answer would tell a guest what exists where it may not look.
    """
    if PARENT not in todo:
        return Resolved((*done, *reversed(todo)))
    depth = len(done)
    for name in reversed(todo):
        depth += -1 if name == PARENT else 1
        if depth < 0:
            raise _escape()
    return Resolved(tuple(done), error)


def _escape() -> PathEscapeError:
    return PathEscapeError("the path leads out of its root", rule="vfs.beneath")


def _invalid(message: str) -> VfsError:
    return VfsError(message, code="vfs.invalid-path")
