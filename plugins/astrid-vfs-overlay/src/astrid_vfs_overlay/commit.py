"""Planning a commit: which paths belong together, what stands in the way, in which order to go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.vfs import Announce, CommitReport
from astrid_vfs_overlay.apply import Applier, Plan, needed_sources
from astrid_vfs_overlay.copy_up import fill
from astrid_vfs_overlay.diff import Diff, Item
from astrid_vfs_overlay.edit import Edit
from astrid_vfs_overlay.journal import drop_entry
from astrid_vfs_overlay.layers import Layers
from astrid_vfs_overlay.nodes import WHITEOUT, ancestors, directories, join, redirects
from astrid_vfs_overlay.path_set import PathSet
from astrid_vfs_overlay.unfold import unfold_within


def commit(
    layers: Layers, paths: Sequence[str], *, overwrite: bool, announce: Announce | None
) -> CommitReport:
    """As `VfsOverlay.commit`. The lock is held."""
    selection = Selection(layers, paths)
    conflicts = [item.path for item in selection.items if item.conflict]
    if conflicts and not overwrite:
        return CommitReport((), conflicts, ())
    if not selection.items:
        _drop_equal(layers, selection)
        return CommitReport((), (), ())
    with Edit(layers) as edit:
        unfold_within(edit, selection.tops)
    selection.look_again()
    plan = Plan(selection.items, overwrite=overwrite)
    applier = Applier(layers, plan)
    for item in plan.to_stage(needed_sources(layers)):
        try:
            fill(layers, item.place)
        except AstridError as error:
            applier.fail(item, error)
    if announce is not None:
        announce([item.change() for item in selection.items])
    applier.run()
    _drop_equal(layers, selection)
    return applier.report()


def _drop_equal(layers: Layers, selection: Selection) -> None:
    """Follow the lower layer again where it has what the overlay has: nothing is left to decide."""
    changed = {item.path for item in selection.items}
    equal = [
        join(at, name)
        for at, node in directories(layers.root, "")
        if node.lower == at
        for name, child in node.entries.items()
        if child.kind != "directory" and child.lower is None and not child.handles
        if child is WHITEOUT or child.links == 1
        if join(at, name) not in changed and selection.covers(join(at, name))
    ]
    for path in equal:
        drop_entry(layers, path)


class Selection:
    """The changes that a commit is about, and those that it cannot do without.

    Args:
        layers: The lock is held.
        paths: What was asked for.

    Attributes:
        items: The changes, in byte order.
        tops: Paths that are selected with all below them, and directories above those.
    """

    def __init__(self, layers: Layers, paths: Iterable[str]) -> None:
        self._diff = Diff(layers)
        self._whole: set[str] = set()
        self._single: set[str] = set()
        self._looked_at: set[str] = set()
        self._covered = PathSet()
        self._places: dict[str, list[str]] = {}
        for place, source in redirects(layers.root):
            self._places.setdefault(source, []).append(place)
        self._select(set(paths))
        self.items: list[Item] = []
        self.look_again()
        self.tops = self._whole | self._single

    def covers(self, path: str) -> bool:
        """Whether a path is selected with all below it."""
        return self._covered.covers(path)

    def look_again(self) -> None:
        """Find the changes of the selection anew."""
        items = {item.path: item for item in self._diff.items(self._whole)}
        for path in self._single:
            item = self._diff.item(path)
            if item is not None:
                items[path] = item
        self.items = [items[path] for path in sorted(items, key=str.encode)]

    def _select(self, more: set[str]) -> None:
        """Select paths, and what they cannot do without; each change is looked at once."""
        while more:
            self._whole |= more
            for path in more:
                self._covered.add(path)
            found = self._diff.items(more)
            for item in found:  # which grows meanwhile
                found += self._directories_above(item)
            more = {
                place
                for item in found
                if item.below is not None
                for source in (item.path, *ancestors(item.path))
                for place in self._places.get(source, ())
                if not self.covers(place)
            }

    def _directories_above(self, item: Item) -> list[Item]:
        """Directories that have to be made before something in them can be."""
        made = []
        for above in ancestors(item.path) if item.shown is not None else ():
            if above in self._looked_at or self.covers(above):
                continue
            self._looked_at.add(above)
            change = self._diff.item(above)
            if change is not None:
                self._single.add(above)
                made.append(change)
        return made
