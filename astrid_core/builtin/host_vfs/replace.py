"""Takes files away and puts files in their place, and loses nothing that others write meanwhile.

A condition is asked twice: before, so that the usual refusal disturbs nobody, and about exactly the
file that came out, under a name of its own, while it can still be put back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from typing import Final

from astrid_core.builtin.host_vfs import syscalls
from astrid_core.builtin.host_vfs.file import HostFile
from astrid_core.builtin.host_vfs.nodes import check_regular, node_stat
from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import ContentCheck, NodeStat
from astrid_hookspecs.vfs_paths import temporary_name

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PRIVATE: Final = 0o600
_DEFAULT_MODE: Final = 0o644
_NOT_SUPPORTED: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def replace_file(
    directory: int,
    name: str,
    content: Iterable[bytes],
    *,
    mode: int | None,
    only_if: ContentCheck | None,
    token: str | None,
) -> NodeStat:
    """As `VfsDirectory.replace`, in one directory.

    Args:
        directory: Descriptor of it, open for reading.
        name: Of the file.
        content: In pieces.
        mode: As there.
        only_if: As there.
        token: As there.

    Raises:
        VfsError: As there.
        OSError: As the system answers.
    """
    temporary = temporary_name(token or secrets.token_hex(12))
    old = lstat(directory, name)
    if old is not None:
        check_regular(old)
    _ask(only_if, directory, None if old is None else name)
    descriptor = os.open(temporary, _CREATE, _PRIVATE, dir_fd=directory)
    try:
        try:
            for piece in content:
                _write(descriptor, piece)
            kept = _DEFAULT_MODE if old is None else stat.S_IMODE(old.st_mode)
            os.fchmod(descriptor, kept if mode is None else mode)
            os.fsync(descriptor)
            _put(directory, temporary, name, only_if=only_if, is_new=old is None)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)
        return node_stat(os.fstat(descriptor), created_ns=None)
    finally:
        os.close(descriptor)


def unlink_file(
    directory: int, name: str, *, only_if: ContentCheck | None, token: str | None
) -> None:
    """As `VfsDirectory.unlink`, in one directory.

    Args:
        directory: Descriptor of it.
        name: Of the file or link.
        only_if: As there.
        token: As there.

    Raises:
        VfsError: As there.
        OSError: As the system answers.
    """
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        raise VfsError("it is a directory", code="vfs.is-directory")
    if only_if is None:
        os.unlink(name, dir_fd=directory)
        return
    _ask(only_if, directory, name)
    temporary = temporary_name(token or secrets.token_hex(12))
    _rename_new(directory, name, temporary)
    try:
        _ask(only_if, directory, temporary)
    except BaseException:
        _rename_new(directory, temporary, name)
        raise
    os.unlink(temporary, dir_fd=directory)


def lstat(directory: int, name: str) -> os.stat_result | None:
    """What a name stands for, None for nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _put(
    directory: int, temporary: str, name: str, *, only_if: ContentCheck | None, is_new: bool
) -> None:
    if only_if is None:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    if is_new:
        try:
            _rename_new(directory, temporary, name)
        except FileExistsError as error:
            raise _conflict() from error
        return
    try:
        syscalls.renameat2(directory, temporary, name, flags=syscalls.RENAME_EXCHANGE)
    except FileNotFoundError as error:
        raise _conflict() from error
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        # Without an exchange, a change between the first question and here is lost: the record
        # of this backend claims `atomic-replace` for systems that have it.
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    try:
        _ask(only_if, directory, temporary, must_be_file=True)
    except BaseException:
        syscalls.renameat2(directory, temporary, name, flags=syscalls.RENAME_EXCHANGE)
        raise
    os.unlink(temporary, dir_fd=directory)


def _rename_new(directory: int, source: str, target: str) -> None:
    """Rename without replacing; `FileExistsError` when the target is there."""
    try:
        syscalls.renameat2(directory, source, target, flags=syscalls.RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.unlink(source, dir_fd=directory)


def _ask(
    only_if: ContentCheck | None, directory: int, name: str | None, *, must_be_file: bool = False
) -> None:
    """Ask the condition about a file; links and special files count as no file."""
    if only_if is None:
        return
    file = None if name is None else _open_regular(directory, name)
    try:
        if (must_be_file and file is None) or not only_if(file):
            raise _conflict()
    finally:
        if file is not None:
            file.close()


def _open_regular(directory: int, name: str) -> HostFile | None:
    found = lstat(directory, name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return HostFile(descriptor, "read", closed=lambda: None)


def _write(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _conflict() -> VfsError:
    return VfsError("somebody else changed the file", code="vfs.conflict")
