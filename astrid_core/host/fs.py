"""Host functions of `astrid:fs@1.0.0` that work on paths.

Trusted with what each function asks the gate for and with its limits. How a path is resolved,
checked and recorded is the same for all of them: `fs_access`. Spec: host-abi 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from astrid_core.host.fs_access import FsAccess, Leases, Want
from astrid_core.host.fs_errors import error_answer
from astrid_core.host.fs_records import FileStatRecord, stat_record
from astrid_core.host.fs_resolve import Resolver
from astrid_core.host.fs_target import Target
from astrid_core.host.fs_tree import TreeRemoval, copy_file, make_directories
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import VfsError, VfsNotFoundError
from astrid_hookspecs.vfs import NodeStat

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""Most bytes that a whole-file function moves."""
MAX_ENTRIES: Final = 4096
_NOTHING_THERE: Final = frozenset({"vfs.not-found", "vfs.not-directory"})

_T = TypeVar("_T")


class FsHost(HostPackage):
    """The functions of `astrid:fs/host@1.0.0`."""

    interface = "astrid:fs/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._access = FsAccess(instance)

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As `HostPackage.foreseen`."""
        return error_answer(error)

    @handles("fs-exists")
    def exists(self, path: str) -> bool:
        """Whether the path leads to something."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> NodeStat:
            return _followed(targets[0])

        try:
            self._access.perform("fs-exists", (Want(path, "read"),), action, sampled=True)
        except VfsError as error:
            if error.code in _NOTHING_THERE:
                return False
            raise
        return True

    @handles("fs-mkdir")
    def mkdir(self, path: str) -> None:
        """Make one directory."""
        wants = (Want(path, "write", follow=False),)
        self._access.perform("fs-mkdir", wants, lambda _, targets: targets[0].mkdir())

    @handles("fs-mkdir-all")
    def mkdir_all(self, path: str) -> None:
        """Make a directory and those above it."""
        wants = (Want(path, "write"),)
        self._access.perform("fs-mkdir-all", wants, lambda _, targets: make_directories(targets[0]))

    @handles("fs-readdir")
    def readdir(self, path: str) -> list[str]:
        """The names in a directory, sorted; more than 4096 are an error, never a part."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> list[str]:
            names = targets[0].names(limit=MAX_ENTRIES + 1)
            if len(names) > MAX_ENTRIES:
                raise VfsError("the directory has too many entries", code="vfs.too-large")
            return names

        return self._access.perform("fs-readdir", (Want(path, "read"),), action, sampled=True)

    @handles("fs-stat")
    def stat(self, path: str) -> FileStatRecord:
        """Metadata; links are followed."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> NodeStat:
            return _followed(targets[0])

        wants = (Want(path, "read"),)
        return stat_record(self._access.perform("fs-stat", wants, action, sampled=True))

    @handles("fs-stat-symlink")
    def stat_symlink(self, path: str) -> FileStatRecord:
        """Metadata of the name itself."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> NodeStat:
            return targets[0].stat()

        wants = (Want(path, "read", follow=False),)
        return stat_record(self._access.perform("fs-stat-symlink", wants, action, sampled=True))

    @handles("fs-unlink")
    def unlink(self, path: str) -> None:
        """Remove a file or a link."""
        wants = (Want(path, "write", follow=False),)
        self._access.perform("fs-unlink", wants, lambda _, targets: targets[0].unlink())

    @handles("read-file")
    def read_file(self, path: str) -> bytes:
        """The whole content; its length is looked at before and after reading."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> bytes:
            file = targets[0].open("read")
            try:
                _check_whole(file.stat().size)
                data = file.read_at(0, MAX_FILE_BYTES + 1)
                _check_whole(len(data))
                return data
            finally:
                file.close()

        return self._access.perform("read-file", (Want(path, "read"),), action)

    @handles("write-file")
    def write_file(self, path: str, content: bytes) -> None:
        """Replace the whole content in one step."""
        _check_whole(len(content))  # before the path is looked at

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            _with_parents(targets[0], lambda: targets[0].replace((content,)))

        wants = (Want(path, "write"),)
        self._access.perform("write-file", wants, action, detail=_bytes(content))

    @handles("fs-append")
    def append(self, path: str, content: bytes) -> None:
        """Add to the end in one piece."""
        _check_whole(len(content))

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            file = _with_parents(targets[0], lambda: targets[0].open("append"))
            try:
                file.write_at(0, content)
            finally:
                file.close()

        wants = (Want(path, "write"),)
        self._access.perform("fs-append", wants, action, detail=_bytes(content))

    @handles("fs-copy")
    def copy(self, src: str, dst: str) -> None:
        """Copy content over another file, also from mount to mount."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            source, target = targets
            stopped = self.instance.is_stopped
            copy_file(source, target, limit_bytes=self._storage_limit, stopped=stopped)

        self._access.perform("fs-copy", (Want(src, "read"), Want(dst, "write")), action)

    @handles("fs-rename")
    def rename(self, src: str, dst: str) -> None:
        """Give a file another name within its root."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            source, target = targets
            _check_no_root(source)
            _check_no_root(target)
            source.rename(target)

        wants = (Want(src, "write", follow=False), Want(dst, "write", follow=False))
        self._access.perform("fs-rename", wants, action)

    @handles("fs-remove-dir-all")
    def remove_dir_all(self, path: str) -> int:
        """Remove a directory with everything in it; the number of removed entries."""
        removal = TreeRemoval(stopped=self.instance.is_stopped)

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            _check_no_root(targets[0])
            removal.remove(targets[0])

        wants = (Want(path, "write", follow=False),)
        self._access.perform("fs-remove-dir-all", wants, action)
        return removal.removed

    @handles("fs-canonicalize")
    def canonicalize(self, path: str) -> str:
        """The path without links and `..`."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> str:
            _followed(targets[0])
            return targets[0].text

        return self._access.perform("fs-canonicalize", (Want(path, "read"),), action)

    @handles("fs-read-link")
    def read_link(self, path: str) -> str:
        """Where a link leads: one step, as a path with a scheme."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> str:
            (target,) = targets
            mount, place = target.mount, target.checked.place
            resolver = Resolver(mount.root, physical=mount.physical)
            found = resolver.resolve_link(place.parts, target.readlink())
            if found.problem is not None:
                raise found.problem
            return replace(place, parts=found.parts).text

        wants = (Want(path, "read", follow=False),)
        return self._access.perform("fs-read-link", wants, action)

    @handles("fs-hard-link")
    def hard_link(self, src: str, link_path: str) -> None:
        """Give a file a second name within its root."""

        def action(_leases: Leases, targets: tuple[Target, ...]) -> None:
            source, target = targets
            if source.stat().kind == "directory":
                raise VfsError("a directory has one name", code="vfs.is-directory")
            source.link(target)

        wants = (Want(src, "write"), Want(link_path, "write", follow=False))
        self._access.perform("fs-hard-link", wants, action)

    @property
    def _storage_limit(self) -> int:
        return self.instance.services.profiles.quotas(self.instance.principal).max_storage_bytes


def _with_parents(target: Target, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except VfsNotFoundError:
        if not target.mount.creates_parents:
            raise
    target.mkdir_parents()
    return action()


def _followed(target: Target) -> NodeStat:
    node = target.stat()
    if node.kind == "symlink":
        raise VfsError("a link appeared where none was", code="vfs.link")
    return node


def _check_whole(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise VfsError("more than one call may move", code="vfs.too-large")


def _check_no_root(target: Target) -> None:
    if target.is_root:
        raise VfsError("the root of a mount stays where it is", code="vfs.access")


def _bytes(content: bytes) -> dict[str, str]:
    return {"bytes": str(len(content))}
