"""An overlay over a directory of the disk, with short words for what tests do to it."""

from __future__ import annotations

from pathlib import Path

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.vfs import OpenMode, OverlaySpec, VfsDirectory
from astrid_vfs_overlay.overlay import Overlay
from tests.support.overlay_model import link_text


class Meter:
    """Implements `VfsMeter` with a limit that a test can move."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.used = 0

    def charge(self, growth_bytes: int) -> None:
        if self.limit is not None and growth_bytes > 0 and self.used + growth_bytes > self.limit:
            raise QuotaExceededError("that is too much", rule="max_storage_bytes")
        self.used += growth_bytes


class Workspace:
    """A lower directory, a store, and the overlay between them.

    Attributes:
        lower: The person's directory, by the side door.
        store: Of the overlay.
        meter: Charged by it.
        view: The overlay.
    """

    def __init__(self, lower: Path, store: Path, meter: Meter | None = None) -> None:
        self.lower = lower
        self.store = store
        self.meter = meter or Meter()
        lower.mkdir(exist_ok=True)
        store.mkdir(mode=0o700, exist_ok=True)
        self.view = self._opened()

    def reopen(self) -> None:
        """As after a restart: everything comes from the store again."""
        self.view.close()
        self.meter.used = 0
        self.view = self._opened()

    def close(self) -> None:
        self.view.close()

    def write(self, path: str, data: bytes, mode: OpenMode = "write") -> None:
        file = self.view.open(path, mode)
        try:
            file.write_at(0, data)
        finally:
            file.close()

    def read(self, path: str) -> bytes:
        return read(self.view, path)

    def names(self, path: str = "") -> list[str]:
        return self.view.names(path, after=None, limit=10_000)

    def edit(self, path: str, data: bytes) -> None:
        """The person writes a file."""
        target = self.lower / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def changed(self, *paths: str) -> dict[str, str]:
        """Changes by path; a `!` marks a conflict."""
        found = self.view.changes(paths or ("",))
        return {item.path: item.change + "!" * item.conflict for item in found}

    def tree(self) -> dict[str, bytes | None]:
        """Everything in the lower directory, temporaries too; None for directories."""
        return {
            str(path.relative_to(self.lower)): _on_disk(path)
            for path in sorted(self.lower.rglob("*"))
        }

    def contents(self) -> dict[str, bytes | None]:
        """As `tree`, without temporaries."""
        return {path: data for path, data in self.tree().items() if ".astrid-tmp-" not in path}

    def seen(self) -> dict[str, bytes | None]:
        """Everything that the overlay shows; None for directories."""
        found: dict[str, bytes | None] = {}
        waiting = [""]
        while waiting:
            at = waiting.pop()
            for name in self.names(at):
                path = f"{at}/{name}" if at else name
                kind = self.view.stat(path).kind
                if kind == "directory":
                    found[path] = None
                    waiting.append(path)
                elif kind == "symlink":
                    found[path] = link_text(self.view.readlink(path))
                else:
                    found[path] = self.read(path)
        return found

    def crash(self) -> None:
        """As after a kill: nothing more is written, and everything comes from the store."""
        layers = self.view._layers
        layers.db.close()  # an open transaction is not committed
        layers.blobs.close()
        layers.lower.close()
        self.meter.used = 0
        self.view = self._opened()

    def _opened(self) -> Overlay:
        lower = open_host_directory(self.lower, foreign=True)
        return Overlay.open_store(OverlaySpec(lower, self.store, self.meter))


def _on_disk(path: Path) -> bytes | None:
    if path.is_symlink():
        return link_text(str(path.readlink()))
    return None if path.is_dir() else path.read_bytes()


def read(root: VfsDirectory, path: str) -> bytes:
    file = root.open(path, "read")
    try:
        return file.read_at(0, 1 << 26)
    finally:
        file.close()
