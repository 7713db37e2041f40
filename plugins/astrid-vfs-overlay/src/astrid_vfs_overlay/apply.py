"""Carrying a commit out, path by path, so that a crash leaves every file old or new.

Trusted with a person's files: a file is replaced or removed only if what is taken away has the
content that the change started from.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from astrid_hookspecs.errors import AstridError, VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import CommitReport, ContentCheck, VfsFile
from astrid_hookspecs.vfs_paths import temporary_name
from astrid_vfs_overlay.copy_up import PERMISSIONS
from astrid_vfs_overlay.diff import Item, content_digest, upper_pieces
from astrid_vfs_overlay.journal import Entry, drop_entry, read_entries, write_entries
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.lower import digest_of, lower_digest, lower_pieces, lower_stat
from astrid_vfs_overlay.nodes import Place, ancestors, join, redirects, split
from astrid_vfs_overlay.path_set import PathSet
from astrid_vfs_overlay.recovery import recover_path

_DIRECTORY: Final = "directory"


class Plan:
    """The changes of a commit, in the order that is safe.

    New directories and files first, what goes away last and deepest first: until then it may be
    the only copy of what shows elsewhere.

    Args:
        items: The changes, in byte order.
        overwrite: Whether conflicts are overwritten.
    """

    def __init__(self, items: Iterable[Item], *, overwrite: bool) -> None:
        self.overwrite = overwrite
        self.first: list[Item] = []
        self.removed: list[Item] = []
        self.last: list[Item] = []
        for item in items:
            if item.shown is None:
                self.removed.append(item)
            elif item.shown.kind != _DIRECTORY and _is_directory(item):
                self.last.append(item)
            else:
                self.first.append(item)
        self.removed.reverse()

    def to_stage(self, sources: Collection[str]) -> list[Item]:
        """Files that stand for a lower file which changes before they are written."""
        changing = {item.path for item in self.first if item.below is not None}
        return [
            item
            for item in (*self.first, *self.last)
            if item.place.lower in sources
            and item.shown is not None
            and item.shown.kind == "regular"
            and (item.place.lower in changing or item in self.last)
        ]

    def all(self) -> Iterator[Item]:
        """Every change."""
        yield from (*self.first, *self.removed, *self.last)


class Applier:
    """Carries a plan out. The lock is held.

    Args:
        layers: Where.
        plan: What.
    """

    def __init__(self, layers: Layers, plan: Plan) -> None:
        self._layers = layers
        self._lower = layers.lower
        self._plan = plan
        self._entries: dict[str, Entry] = {}
        self._committed: list[str] = []
        self._conflicts: set[str] = set()
        self._failed: dict[str, str] = {}
        self._stuck = PathSet()
        self._needed: frozenset[str] = frozenset()

    def fail(self, item: Item, error: AstridError) -> None:
        """Leave a path alone."""
        if error.code == "vfs.conflict":
            self._conflicts.add(item.path)
        else:
            self._failed[item.path] = error.message
            self._stuck.add(item.path)

    def run(self) -> None:
        """Do it; whatever the lower layer refuses is in the report, and the rest goes on."""
        self._write_journal()
        self._needed = needed_sources(self._layers)
        for item in self._plan.first:
            self._try(item, self._apply)
        self._needed = needed_sources(self._layers)
        for item in self._plan.removed:
            self._try(item, self._remove)
        for item in self._plan.last:
            self._try(item, self._apply)
        for entry in read_entries(self._layers.db):
            recover_path(self._layers, entry)

    def report(self) -> CommitReport:
        """What became of the paths."""
        return CommitReport(
            sorted(self._committed, key=str.encode),
            sorted(self._conflicts, key=str.encode),
            sorted(self._failed.items(), key=lambda pair: pair[0].encode()),
        )

    def _write_journal(self) -> None:
        self._entries = {item.path: self._entry(item) for item in self._plan.all()}
        write_entries(self._layers, self._entries.values())

    def _entry(self, item: Item) -> Entry:
        new = None
        if _kind(item) in {"regular", "symlink"}:
            new = self._quiet(lambda: content_digest(self._layers, item.place))
        old = self._quiet(lambda: self._expected(item))
        return Entry(item.path, secrets.token_hex(12), old, new, self._plan.overwrite)

    def _quiet(self, call: Callable[[], bytes | None]) -> bytes | None:
        """What cannot be read now is told when it is that path's turn."""
        try:
            return call()
        except AstridError:
            return None

    def _expected(self, item: Item) -> bytes | None:
        """The content that has to be in the lower layer for the change to happen."""
        if item.base is None or item.base.kind != "regular":
            return None
        if item.base.digest is not None:
            return item.base.digest
        if not self._has_stamp(item):
            return None
        digest = lower_digest(self._lower, item.path)
        return digest if self._has_stamp(item) else None

    def _has_stamp(self, item: Item) -> bool:
        now = lower_stat(self._lower, item.path)
        return (
            item.base is not None
            and now is not None
            and bool(now.stamp)
            and now.stamp == item.base.stamp
        )

    def _try(self, item: Item, act: Callable[[Item], None]) -> None:
        if item.path in self._failed or item.path in self._conflicts:
            return
        try:
            if any(above in self._failed for above in ancestors(item.path) if item.shown):
                raise VfsError("the directory above it could not be made")
            act(item)
        except AstridError as error:
            self.fail(item, error)
        else:
            self._committed.append(item.path)

    def _apply(self, item: Item) -> None:
        if item.below is not None and _kind(item) != _was(item):
            self._take_away(item)
        if _kind(item) == _DIRECTORY:
            self._make_directory(item)
        elif _kind(item) == "symlink":
            self._write_link(item)
        elif _kind(item) == "regular":
            self._write_file(item)
        else:
            raise VfsError("only files, directories and links can be made", code="vfs.unsupported")
        drop_entry(self._layers, item.path)

    def _remove(self, item: Item) -> None:
        self._take_away(item)
        drop_entry(self._layers, item.path)

    def _make_directory(self, item: Item) -> None:
        try:
            self._lower.mkdir(item.path)
        except VfsError as error:
            found = lower_stat(self._lower, item.path)
            if error.code != "vfs.already-exists" or found is None or found.kind != _DIRECTORY:
                raise

    def _write_file(self, item: Item) -> None:
        self._keep_sources(item)
        place, shown = item.place, item.shown
        mode = 0o644 if shown is None else shown.mode & PERMISSIONS
        was = lower_stat(self._lower, item.path)
        keeps = was is not None and item.base is not None and item.base.mode == mode
        self._lower.replace(
            item.path,
            self._content(place),
            mode=None if keeps else mode,
            only_if=self._check(item, absent=_was(item) != "regular"),
            token=self._entries[item.path].token,
        )

    def _content(self, place: Place) -> Iterator[bytes]:
        # The node knows best: what showed a lower file may have got a copy since it was planned.
        if place.node is not None and place.node.has_content:
            return upper_pieces(self._layers, place.node)
        return lower_pieces(self._lower, place.lower or "")

    def _write_link(self, item: Item) -> None:
        target = "" if item.place.node is None else item.place.node.target
        if item.place.lower is not None:  # only what cannot be said is not in the node
            target = self._lower.readlink(item.place.lower)
        if item.below is None or _was(item) != "symlink":
            self._lower.symlink(target, item.path)
            return
        # No backend replaces links conditionally. Removing the old one first could be checked, but
        # a crash would leave neither; so what takes its place right now goes unnoticed.
        self._need_unchanged(item)
        temporary = join(split(item.path)[0], temporary_name(self._entries[item.path].token))
        self._lower.symlink(target, temporary)
        self._lower.rename(temporary, item.path)

    def _take_away(self, item: Item) -> None:
        self._keep_sources(item)
        try:
            if _is_directory(item):
                self._remove_directory(item)
            else:
                is_file = _was(item) == "regular"
                if not is_file:
                    self._need_unchanged(item)
                check = self._check(item, absent=not is_file)
                self._lower.unlink(item.path, only_if=check, token=self._entries[item.path].token)
        except VfsNotFoundError:
            if item.shown is not None and not self._plan.overwrite:
                raise VfsError("it is gone", code="vfs.conflict") from None

    def _remove_directory(self, item: Item) -> None:
        if self._stuck.has_below(item.path):
            raise VfsError("something in it could not be removed")
        try:
            self._lower.rmdir(item.path)
        except VfsError as error:
            if error.code == "vfs.not-empty":
                raise VfsError("there is something new in it", code="vfs.conflict") from error
            raise

    def _need_unchanged(self, item: Item) -> None:
        if self._plan.overwrite or item.base is None:
            return
        now = lower_stat(self._lower, item.path)
        if now is not None and now.kind == "symlink" == item.base.kind:
            if item.base.digest == lower_digest(self._lower, item.path):
                return
        elif now is None or now.kind == item.base.kind:
            return
        raise VfsError("it is not what it was", code="vfs.conflict")

    def _check(self, item: Item, *, absent: bool) -> ContentCheck | None:
        if self._plan.overwrite:
            return None
        expected = None if absent else self._expected(item)

        def check(file: VfsFile | None) -> bool:
            if file is None:
                return absent
            return expected is not None and digest_of(file) == expected

        return check

    def _keep_sources(self, item: Item) -> None:
        """Refuse to change a lower path that still shows elsewhere."""
        tops = (item.path, *ancestors(item.path))
        if item.below is not None and not self._needed.isdisjoint(tops):
            raise VfsError("its content is still needed at its new place, which failed")


def needed_sources(layers: Layers) -> frozenset[str]:
    """Lower paths that show at another place."""
    return frozenset(source for _, source in redirects(layers.root))


def _kind(item: Item) -> str | None:
    return None if item.shown is None else item.shown.kind


def _was(item: Item) -> str | None:
    return None if item.below is None else item.below.kind


def _is_directory(item: Item) -> bool:
    return _was(item) == _DIRECTORY
