"""Replacing and removing whole files so that neither a crash nor a concurrent change loses content.

Trusted with never destroying a file that nobody looked at. The new content is complete and durable
under a temporary name before it gets its own; the old file leaves by an exchange of the two names,
so it can still be looked at, and be put back, after it was taken away. Whatever goes wrong, a file
is under its own name or under the temporary one.

Where the file system knows no exchange (`renameat2` since Linux 3.15, most local file systems), the
old file is looked at and then replaced by a plain rename: still one step for readers and crashes,
but a change in the instant between the two is lost.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from typing import Final

from astrid_core.builtin.host_vfs.admission import wrong_kind
from astrid_core.builtin.host_vfs.file import node_stat, sync_directory, write_all
from astrid_core.builtin.host_vfs.naming import Place
from astrid_core.builtin.host_vfs.syscalls import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RawStat,
    renameat2,
    stat_at,
    stat_descriptor,
)
from astrid_core.builtin.host_vfs.tree import FILE_MODE, Tree
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeStat
from astrid_hookspecs.vfs_paths import temporary_name

_ATTEMPTS: Final = 16
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SYNC: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


class Swap:
    """One operation on a file and on the temporary beside it.

    Args:
        tree: Opens the file for whoever wants to look at it.
        place: The file; stays open meanwhile.
        only_if: As in `VfsDirectory.replace`.
        token: As in `VfsDirectory.replace`.
    """

    def __init__(
        self, tree: Tree, place: Place, *, only_if: ContentCheck | None, token: str | None
    ) -> None:
        self._tree = tree
        self._directory = place.directory
        self._name = place.name
        self._temporary = temporary_name(token or secrets.token_hex(8)).encode()
        self._only_if = only_if

    def replace(self, content: Iterable[bytes], *, mode: int | None) -> NodeStat:
        """As `VfsDirectory.replace`."""
        old = self._present()
        if mode is None:
            mode = FILE_MODE if old is None else old.mode
        directory = os.open(b".", _SYNC, dir_fd=self._directory)
        try:
            new = os.open(self._temporary, _CREATE, 0o600, dir_fd=self._directory)
            try:
                self._fill(new, content, mode & 0o777)
                sync_directory(directory)
                return node_stat(stat_descriptor(new))
            finally:
                os.close(new)
        finally:
            os.close(directory)

    def unlink(self) -> None:
        """As `VfsDirectory.unlink` with a condition; durable on return."""
        node = stat_at(self._directory, self._name)
        if stat.S_ISDIR(node.mode):
            raise wrong_kind(node.mode)
        self._ask(self._name, node)
        directory = os.open(b".", _SYNC, dir_fd=self._directory)
        try:
            self._set_aside()
            try:
                self._look_at_taken(only_regular=False)
            except BaseException as error:
                if not move_to_free_name(self._directory, self._temporary, self._name):
                    raise self._kept_aside() from error
                raise
            os.unlink(self._temporary, dir_fd=self._directory)
            sync_directory(directory)
        finally:
            os.close(directory)

    def _fill(self, new: int, content: Iterable[bytes], mode: int) -> None:
        """Write the temporary and give it its name; without success it is gone afterwards."""
        identity = stat_descriptor(new).identity
        try:
            for piece in content:
                write_all(new, piece)
            os.fchmod(new, mode)
            os.fsync(new)
            self._install(identity)
        except BaseException:
            self._discard(identity)
            raise

    def _install(self, identity: tuple[int, int]) -> None:
        for _ in range(_ATTEMPTS):
            old = self._present()
            self._ask(self._name, old)
            if old is None:
                if move_to_free_name(self._directory, self._temporary, self._name):
                    return
            elif self._exchange(identity):
                return
        raise VfsError("the file comes and goes all the time", code="vfs.conflict")

    def _exchange(self, identity: tuple[int, int]) -> bool:
        """Take the old file away; False when there is none any more."""
        try:
            renameat2(self._directory, self._temporary, self._name, RENAME_EXCHANGE)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            self._rename(self._temporary, self._name)
            return True
        try:
            self._look_at_taken(only_regular=True)
        except BaseException as error:
            if not self._put_back(identity):
                raise self._kept_aside() from error
            raise
        os.unlink(self._temporary, dir_fd=self._directory)
        return True

    def _look_at_taken(self, *, only_regular: bool) -> None:
        """Refuse when what was taken away is of a kind, or content, that should have stayed."""
        taken = stat_at(self._directory, self._temporary)
        if stat.S_ISDIR(taken.mode) or (only_regular and not taken.is_regular):
            raise wrong_kind(taken.mode)
        self._ask(self._temporary, taken)

    def _put_back(self, identity: tuple[int, int]) -> bool:
        """Give the old file its name again; False when it had to stay under the temporary one."""
        try:
            renameat2(self._directory, self._temporary, self._name, RENAME_EXCHANGE)
        except FileNotFoundError:  # somebody has removed the new file
            return move_to_free_name(self._directory, self._temporary, self._name)
        if stat_at(self._directory, self._temporary).identity == identity:
            return True
        # Somebody has replaced the new file by yet another one, which must not be lost either.
        renameat2(self._directory, self._temporary, self._name, RENAME_EXCHANGE)
        return False

    def _set_aside(self) -> None:
        try:
            renameat2(self._directory, self._name, self._temporary, RENAME_NOREPLACE)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            if _stat_or_none(self._directory, self._temporary) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            self._rename(self._name, self._temporary)

    def _rename(self, source: bytes, target: bytes) -> None:
        os.rename(source, target, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _present(self) -> RawStat | None:
        """The file under the name, None without one; an error for anything but a file."""
        found = _stat_or_none(self._directory, self._name)
        if found is not None and not found.is_regular:
            raise wrong_kind(found.mode)
        return found

    def _ask(self, name: bytes, node: RawStat | None) -> None:
        """Refuse with `vfs.conflict` when the caller does not want the node under `name` gone."""
        if self._only_if is None:
            return
        if node is None or not node.is_regular:
            is_wanted = self._only_if(None)
        else:
            file = self._tree.open_file(self._directory, name, "read")
            try:
                is_wanted = self._only_if(file)
            finally:
                file.close()
        if not is_wanted:
            raise VfsError("the file has changed in the meantime", code="vfs.conflict")

    def _kept_aside(self) -> VfsError:
        return VfsError(
            "the file changed twice in the meantime; one version has its name, the other one is "
            f"beside it as {self._temporary.decode()}",
            code="vfs.conflict",
            hint="compare the two and remove one",
        )

    def _discard(self, identity: tuple[int, int]) -> None:
        """Remove the temporary, unless something else has that name by now."""
        found = _stat_or_none(self._directory, self._temporary)
        if found is not None and found.identity == identity:
            os.unlink(self._temporary, dir_fd=self._directory)


def move_to_free_name(directory: int, source: bytes, target: bytes) -> bool:
    """Rename inside a directory; False, with nothing changed, when the target name is taken.

    Where `renameat2` is missing the target becomes a second name before the first one goes. Where
    hard links are missing too, a name that is taken in the instant of the rename is replaced.
    """
    try:
        renameat2(directory, source, target, RENAME_NOREPLACE)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return _link_then_unlink(directory, source, target)
    return True


def _link_then_unlink(directory: int, source: bytes, target: bytes) -> bool:
    try:
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if _stat_or_none(directory, target) is not None:
            return False
        os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)
        return True
    os.unlink(source, dir_fd=directory)
    return True


def _stat_or_none(directory: int, name: bytes) -> RawStat | None:
    try:
        return stat_at(directory, name)
    except FileNotFoundError:
        return None
