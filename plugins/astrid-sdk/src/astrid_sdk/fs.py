"""Files of the workspace, of the principal's home and of its temporary directory.

A path without a scheme is in the workspace (`notes/a.txt`); `home://x` and `tmp://x` are the
principal's own. Reading needs an entry of `fs_read` in Capsule.toml, changing one of `fs_write`.
Failures are `FsError`s and the `OSError`s that Python programs catch anyway.

Spec: astrid:fs@1.0.0.
"""

from __future__ import annotations

import contextlib
import io
from typing import IO, TYPE_CHECKING, Any, Final

from astrid_sdk.bindings import MAX_LIST_BYTES
from astrid_sdk.chunks import split_bytes
from astrid_sdk.fs_calls import FileStat, call, call_pair, open_raw, stat_of
from astrid_sdk.fs_errors import FsError, FsExistsError, FsNotFoundError, FsTooLargeError
from astrid_sdk.fs_file import MAX_TRANSFER_BYTES, RawFile
from astrid_sdk.fs_walk import glob, iterdir, join, walk

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "FileStat",
    "FsError",
    "append_bytes",
    "append_text",
    "canonicalize",
    "copy",
    "exists",
    "glob",
    "hardlink",
    "is_dir",
    "is_file",
    "iterdir",
    "join",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "read_bytes",
    "read_text",
    "readlink",
    "remove",
    "rename",
    "rmtree",
    "stat",
    "walk",
    "write_bytes",
    "write_text",
]

_MODES: Final = {"r": "read", "w": "write", "a": "append", "r+": "read-write", "w+": "read-write"}
_BUFFER_BYTES: Final = 128 * 1024
"""Read ahead and held back; a call of the host costs more than the copying."""


def read_bytes(path: str) -> bytes:
    """The whole content.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`.
    """
    try:
        data: bytes = call("read_file", path)
    except FsTooLargeError:  # more than one call may move
        with open(path, "rb") as file:
            data = file.read()
    return data


def read_text(path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The whole content as text, line ends as they are.

    Raises:
        FsError: As `read_bytes`.
        UnicodeDecodeError: It is not text in that encoding.
    """
    return read_bytes(path).decode(encoding, errors)


def write_bytes(path: str, data: ReadableBuffer) -> None:
    """Replace the whole content; missing directories in the workspace are made.

    In one step up to 2.6 MB: others see the old content or the new. More is written in pieces.

    Raises:
        FsError: `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    whole = memoryview(data).tobytes()
    if len(whole) <= MAX_LIST_BYTES:
        call("write_file", path, whole)
        return
    call("write_file", path, b"")
    _append(path, whole)


def write_text(path: str, text: str, *, encoding: str = "utf-8") -> None:
    """Replace the whole content with text; as `write_bytes`."""
    write_bytes(path, text.encode(encoding))


def append_bytes(path: str, data: ReadableBuffer) -> None:
    """Add to the end, in one step up to 2.6 MB; creates the file.

    Raises:
        FsError: As `write_bytes`.
    """
    whole = memoryview(data).tobytes()
    if len(whole) <= MAX_LIST_BYTES:
        call("fs_append", path, whole)
    else:
        _append(path, whole)


def append_text(path: str, text: str, *, encoding: str = "utf-8") -> None:
    """Add text to the end; as `append_bytes`."""
    append_bytes(path, text.encode(encoding))


def open(  # noqa: A001 - read as fs.open
    path: str,
    mode: str = "r",
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    newline: str | None = None,
) -> IO[Any]:
    """Open a file; use it in a `with` block, a capsule holds at most 16 at once.

    Args:
        path: Of a file.
        mode: `r`, `w`, `a`, `r+` or `w+`, with `b` for bytes.
        encoding: Of text.
        errors: What becomes of bytes that are no text, as in Python's own `open`.
        newline: As in Python's own `open`.

    Returns:
        A buffered binary file, or a text file over one. `flush` hands everything to the host;
        `RawFile.sync` of the innermost file makes it durable.

    Raises:
        ValueError: The mode is none of these.
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    is_binary = "b" in mode
    plain = mode.replace("b" if is_binary else "t", "", 1)
    if plain not in _MODES:
        raise ValueError(f"invalid mode {mode!r}; use r, w, a, r+ or w+, with b for bytes")
    raw = _open_emptied(path) if plain == "w+" else open_raw(path, _MODES[plain])
    buffered: Any
    if raw.readable() and raw.writable():
        buffered = io.BufferedRandom(raw, _BUFFER_BYTES)
    else:
        kind = io.BufferedReader if raw.readable() else io.BufferedWriter
        buffered = kind(raw, _BUFFER_BYTES)
    if is_binary:
        return buffered  # type: ignore[no-any-return]
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline=newline)


def exists(path: str) -> bool:
    """Whether the path leads to something. A refusal is an error, never False.

    Raises:
        FsError: `PermissionError`, `FsInvalidPathError`.
    """
    found: bool = call("fs_exists", path)
    return found


def is_file(path: str) -> bool:
    """Whether the path leads to a regular file; raises as `exists`."""
    return _kind(path) == "regular"


def is_dir(path: str) -> bool:
    """Whether the path leads to a directory; raises as `exists`."""
    return _kind(path) == "directory"


def stat(path: str) -> FileStat:
    """What is known about a file; links are followed.

    Raises:
        FsError: `FileNotFoundError`, `PermissionError`.
    """
    return stat_of("fs_stat", path)


def lstat(path: str) -> FileStat:
    """As `stat`, about the name itself, which may be a link."""
    return stat_of("fs_stat_symlink", path)


def listdir(path: str = "") -> list[str]:
    """The names in a directory, sorted by their bytes; at most 4096.

    Raises:
        FsError: `FileNotFoundError`, `NotADirectoryError`, `PermissionError`, `FsTooLargeError`.
    """
    names: list[str] = call("fs_readdir", path)
    return names


def mkdir(path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
    """Make a directory.

    Args:
        path: Of it.
        parents: Also make those above it.
        exist_ok: A directory that is there is fine.

    Raises:
        FsError: `FileExistsError`, `FileNotFoundError`, `PermissionError`.
    """
    if parents and exist_ok:
        call("fs_mkdir_all", path)
        return
    if parents and "/" in path.strip("/"):
        call("fs_mkdir_all", path.rstrip("/").rpartition("/")[0])
    try:
        call("fs_mkdir", path)
    except FsExistsError:
        if not (exist_ok and is_dir(path)):
            raise


def remove(path: str) -> None:
    """Remove a file or a link.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`.
    """
    call("fs_unlink", path)


def rmtree(path: str) -> int:
    """Remove a directory with everything in it; the number of removed entries.

    Raises:
        FsError: `FileNotFoundError`, `NotADirectoryError`, `PermissionError`.
    """
    removed: int = call("fs_remove_dir_all", path)
    return removed


def rename(source: str, target: str) -> None:
    """Give a file or directory another name within its root, replacing what is there.

    Raises:
        FsError: `FileNotFoundError`, `PermissionError`, `FsCrossVfsError`.
    """
    call_pair("fs_rename", source, target)


def copy(source: str, target: str) -> None:
    """Copy the content of a file over another, also between roots.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    call_pair("fs_copy", source, target)


def canonicalize(path: str) -> str:
    """The path without links and `..`, with its scheme; raises as `stat`."""
    text: str = call("fs_canonicalize", path)
    return text


def readlink(path: str) -> str:
    """Where a link leads, as a path with a scheme.

    Raises:
        FsError: `FsInvalidPathError` when it is no link, `FsBoundaryEscapeError`.
    """
    text: str = call("fs_read_link", path)
    return text


def hardlink(source: str, target: str) -> None:
    """Give a file a second name within its root.

    Raises:
        FsError: `FileExistsError`, `IsADirectoryError`, `PermissionError`, `FsCrossVfsError`.
    """
    call_pair("fs_hard_link", source, target)


def _open_emptied(path: str) -> RawFile:
    """Open to read and write; the content goes only once both are allowed."""
    try:
        raw = open_raw(path, "read-write")
    except FsNotFoundError:
        open_raw(path, "write").close()
        return open_raw(path, "read-write")
    raw.truncate(0)
    return raw


def _append(path: str, data: bytes) -> None:
    with open_raw(path, "append") as file:
        for piece in split_bytes(data, limit=MAX_TRANSFER_BYTES):
            file.write(piece)


def _kind(path: str) -> str | None:
    with contextlib.suppress(FsNotFoundError):
        return stat(path).kind
    return None
