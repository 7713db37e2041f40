"""Sets of paths that are asked about what lies below and above, however many there are."""

from __future__ import annotations

from collections.abc import Iterable

from astrid_vfs_overlay.nodes import ancestors


class PathSet:
    """Paths of which each stands for itself and all below it; the empty one is the root.

    Both questions cost the length of the path that is asked about, not that of the set.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._tops: set[str] = set()
        self._above: set[str] = set()
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """One more."""
        self._tops.add(path)
        self._above.update(("", *ancestors(path)) if path else ())

    def covers(self, path: str) -> bool:
        """Whether a path is one of them or below one."""
        tops = self._tops
        return path in tops or "" in tops or any(above in tops for above in ancestors(path))

    def has_below(self, path: str) -> bool:
        """Whether one of them is below a path, and is not the path itself."""
        return path in self._above
