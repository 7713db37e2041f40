"""A directory that shows or allows less than the one it wraps.

Trusted with two promises: a read-only view passes no change on, and what is hidden can neither be
named nor listed. Paths are canonical (docs/adr/0006), so comparing names is enough, in the form in
which file systems that do not tell upper from lower case apart see them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from astrid_core.domain.archive_rules import fold_name
from astrid_hookspecs.errors import CapabilityDeniedError, ReadOnlyError
from astrid_hookspecs.vfs import ContentCheck, NodeStat, OpenMode, VfsDirectory, VfsFile


class RestrictedDirectory:
    """Implements `VfsDirectory` on another one.

    Args:
        inner: What is shown; closed with this one.
        writable: Whether changes are passed on.
        hidden: Canonical paths that nobody reaches, themselves and everything below.
    """

    def __init__(
        self, inner: VfsDirectory, *, writable: bool, hidden: Collection[str] = ()
    ) -> None:
        self._inner = inner
        self._writable = writable
        self._hidden = tuple(fold_name(path) for path in hidden)

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        """As `VfsDirectory.open`."""
        self._check(path, changes=mode != "read")
        return self._inner.open(path, mode)

    def open_directory(self, path: str) -> VfsDirectory:
        """As `VfsDirectory.open_directory`, with the same restrictions."""
        self._check(path)
        inner = self._inner.open_directory(path)
        return RestrictedDirectory(inner, writable=self._writable, hidden=self._hidden_in(path))

    def stat(self, path: str) -> NodeStat:
        """As `VfsDirectory.stat`."""
        self._check(path)
        return self._inner.stat(path)

    def names(self, path: str, *, after: str | None, limit: int) -> list[str]:
        """As `VfsDirectory.names`."""
        self._check(path)
        concealed = self._hidden_in(path)
        if not concealed:
            return self._inner.names(path, after=after, limit=limit)
        shown: list[str] = []
        while limit > len(shown):
            wanted = limit - len(shown) + len(concealed)
            page = self._inner.names(path, after=after, limit=wanted)
            shown += [name for name in page if fold_name(name) not in concealed]
            if len(page) < wanted:
                break
            after = page[-1]
        return shown[: max(0, limit)]

    def mkdir(self, path: str) -> None:
        """As `VfsDirectory.mkdir`."""
        self._check(path, changes=True)
        self._inner.mkdir(path)

    def unlink(
        self, path: str, *, only_if: ContentCheck | None = None, token: str | None = None
    ) -> None:
        """As `VfsDirectory.unlink`."""
        self._check(path, changes=True)
        self._inner.unlink(path, only_if=only_if, token=token)

    def rmdir(self, path: str) -> None:
        """As `VfsDirectory.rmdir`."""
        self._check(path, changes=True)
        self._inner.rmdir(path)

    def rename(self, source: str, target: str) -> None:
        """As `VfsDirectory.rename`; a directory that holds something hidden stays where it is."""
        self._check(source, changes=True)
        self._check(target, changes=True)
        if self._hidden_in(source) or self._hidden_in(target):
            raise self._refusal()
        self._inner.rename(source, target)

    def replace(
        self,
        path: str,
        content: Iterable[bytes],
        *,
        mode: int | None = None,
        only_if: ContentCheck | None = None,
        token: str | None = None,
    ) -> NodeStat:
        """As `VfsDirectory.replace`."""
        self._check(path, changes=True)
        return self._inner.replace(path, content, mode=mode, only_if=only_if, token=token)

    def link(self, source: str, target: str) -> None:
        """As `VfsDirectory.link`."""
        self._check(source, changes=True)
        self._check(target, changes=True)
        self._inner.link(source, target)

    def readlink(self, path: str) -> str:
        """As `VfsDirectory.readlink`."""
        self._check(path)
        return self._inner.readlink(path)

    def symlink(self, target: str, path: str) -> None:
        """As `VfsDirectory.symlink`."""
        self._check(path, changes=True)
        self._inner.symlink(target, path)

    def close(self) -> None:
        """As `VfsDirectory.close`."""
        self._inner.close()

    def _check(self, path: str, *, changes: bool = False) -> None:
        if self._hidden:
            folded = fold_name(path)
            if any(folded == hidden or folded.startswith(f"{hidden}/") for hidden in self._hidden):
                raise self._refusal()
        if changes and not self._writable:
            raise ReadOnlyError("this mount accepts no changes")

    def _hidden_in(self, path: str) -> set[str]:
        """What is hidden below a path, relative to it, folded."""
        below = f"{fold_name(path)}/" if path else ""
        return {name.removeprefix(below) for name in self._hidden if name.startswith(below)}

    @staticmethod
    def _refusal() -> CapabilityDeniedError:
        return CapabilityDeniedError(
            "the runtime home is not part of the workspace", rule="mount.runtime-home"
        )
