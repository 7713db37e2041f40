"""Files of the workspace, of the principal's home and of its temporary directory.

A path without a scheme is in the workspace (`notes/a.txt`); `home://x` and `tmp://x` are the
principal's own. Reading needs an entry of `fs_read` in Capsule.toml, changing one of `fs_write`.
Failures are `FsError`s and the `OSError`s that Python programs catch anyway.

Spec: astrid:fs@1.0.0.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

from astrid_sdk.bindings import MAX_LIST_BYTES, host_call, host_type
from astrid_sdk.chunks import split_bytes
from astrid_sdk.fs_errors import (
    FsError,
    FsExistsError,
    FsNotFoundError,
    FsTooLargeError,
)
from astrid_sdk.fs_file import MAX_TRANSFER_BYTES, RawFile

__all__ = [
    "FileStat",
    "FsError",
    "append_bytes",
    "append_text",
    "canonicalize",
    "copy",
    "exists",
    "hardlink",
    "is_dir",
    "is_file",
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

_MODES: Final = {
    "r": ("read",),
    "w": ("write",),
    "a": ("append",),
    "r+": ("read-write",),
    "w+": ("write", "read-write"),
}
"""Host modes that are opened one after the other, the last one kept."""


class FileStat(NamedTuple):
    """What is known about a file.

    Attributes:
        size: Bytes.
        kind: `regular`, `directory`, `symlink`, `fifo`, `socket`, `block-device`,
            `character-device` or `type-unknown`.
        mode: Permission bits.
        modified: Seconds since 1970, None where the file system does not keep it.
    """

    size: int
    kind: str
    mode: int
    modified: float | None


def read_bytes(path: str) -> bytes:
    """The whole content.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`.
    """
    try:
        data: bytes = _call("read_file", path)
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


def write_bytes(path: str, data: bytes) -> None:
    """Replace the whole content; missing directories in the workspace are made.

    In one step up to 2.6 MB; more is written in pieces.

    Raises:
        FsError: `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    if len(data) <= MAX_LIST_BYTES:
        _call("write_file", path, data)
        return
    _call("write_file", path, b"")
    _append(path, data)


def write_text(path: str, text: str, *, encoding: str = "utf-8") -> None:
    """Replace the whole content with text; as `write_bytes`."""
    write_bytes(path, text.encode(encoding))


def append_bytes(path: str, data: bytes) -> None:
    """Add to the end, in one step up to 2.6 MB; creates the file.

    Raises:
        FsError: As `write_bytes`.
    """
    if len(data) <= MAX_LIST_BYTES:
        _call("fs_append", path, data)
    else:
        _append(path, data)


def append_text(path: str, text: str, *, encoding: str = "utf-8") -> None:
    """Add text to the end; as `append_bytes`."""
    append_bytes(path, text.encode(encoding))


def open(  # noqa: A001 - read as fs.open
    path: str, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None
) -> IO[Any]:
    """Open a file; use it in a `with` block, a capsule holds at most 16 at once.

    Args:
        path: Of a file.
        mode: `r`, `w`, `a`, `r+` or `w+`, with `b` for bytes.
        encoding: Of text.
        newline: As in Python's own `open`.

    Returns:
        A buffered binary file, or a text file over one.

    Raises:
        ValueError: The mode is none of these.
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    host_modes = _MODES.get(mode.replace("b", "", 1).replace("t", "", 1))
    if host_modes is None:
        raise ValueError(f"invalid mode {mode!r}; use r, w, a, r+ or w+, with b for bytes")
    for other in host_modes[:-1]:
        _open_raw(path, other).close()
    raw = _open_raw(path, host_modes[-1])
    buffered: Any
    if raw.readable() and raw.writable():
        buffered = io.BufferedRandom(raw)
    else:
        buffered = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
    if "b" in mode:
        return buffered  # type: ignore[no-any-return]
    return io.TextIOWrapper(buffered, encoding=encoding, newline=newline)


def exists(path: str) -> bool:
    """Whether the path leads to something. A refusal is an error, never False.

    Raises:
        FsError: `PermissionError`, `FsInvalidPathError`.
    """
    found: bool = _call("fs_exists", path)
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
    return _stat("fs_stat", path)


def lstat(path: str) -> FileStat:
    """As `stat`, about the name itself, which may be a link."""
    return _stat("fs_stat_symlink", path)


def listdir(path: str = "") -> list[str]:
    """The names in a directory, sorted by their bytes; at most 4096.

    Raises:
        FsError: `FileNotFoundError`, `NotADirectoryError`, `PermissionError`, `FsTooLargeError`.
    """
    names: list[str] = _call("fs_readdir", path)
    return names


def walk(top: str = "") -> Iterator[tuple[str, list[str], list[str]]]:
    """Directories below `top`, itself first, each with its directories and its files.

    As `os.walk`: take names out of the list of directories to stay out of them. Links are listed
    as files and not followed. A directory that may not be read or is gone is left out.
    """
    directories: list[str] = []
    files: list[str] = []
    try:
        for name in listdir(top):
            is_directory = lstat(join(top, name)).kind == "directory"
            (directories if is_directory else files).append(name)
    except (FsNotFoundError, PermissionError):
        return
    yield top, directories, files
    for name in directories:
        yield from walk(join(top, name))


def join(directory: str, name: str) -> str:
    """The path of a name in a directory."""
    if not directory or directory.endswith("/"):
        return directory + name
    return f"{directory}/{name}"


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
        _call("fs_mkdir_all", path)
        return
    if parents and "/" in path.strip("/"):
        _call("fs_mkdir_all", path.rstrip("/").rpartition("/")[0])
    try:
        _call("fs_mkdir", path)
    except FsExistsError:
        if not (exist_ok and is_dir(path)):
            raise


def remove(path: str) -> None:
    """Remove a file or a link.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`.
    """
    _call("fs_unlink", path)


def rmtree(path: str) -> int:
    """Remove a directory with everything in it; the number of removed entries.

    Raises:
        FsError: `FileNotFoundError`, `NotADirectoryError`, `PermissionError`.
    """
    removed: int = _call("fs_remove_dir_all", path)
    return removed


def rename(source: str, target: str) -> None:
    """Give a file or directory another name within its root, replacing what is there.

    Raises:
        FsError: `FileNotFoundError`, `PermissionError`, `FsCrossVfsError`.
    """
    _call("fs_rename", source, target)


def copy(source: str, target: str) -> None:
    """Copy the content of a file over another, also between roots.

    Raises:
        FsError: `FileNotFoundError`, `IsADirectoryError`, `PermissionError`, `FsQuotaError`.
    """
    _call("fs_copy", source, target)


def canonicalize(path: str) -> str:
    """The path without links and `..`, with its scheme; raises as `stat`."""
    text: str = _call("fs_canonicalize", path)
    return text


def readlink(path: str) -> str:
    """Where a link leads, as a path with a scheme.

    Raises:
        FsError: `FsInvalidPathError` when it is no link, `FsBoundaryEscapeError`.
    """
    text: str = _call("fs_read_link", path)
    return text


def hardlink(source: str, target: str) -> None:
    """Give a file a second name within its root.

    Raises:
        FsError: `FileExistsError`, `IsADirectoryError`, `PermissionError`, `FsCrossVfsError`.
    """
    _call("fs_hard_link", source, target)


def _open_raw(path: str, mode: str) -> RawFile:
    member = getattr(host_type("fs", "OpenMode"), mode.upper().replace("-", "_"))
    return RawFile(_call("fs_open", path, member), mode, path)


def _append(path: str, data: bytes) -> None:
    with _open_raw(path, "append") as file:
        for piece in split_bytes(data, limit=MAX_TRANSFER_BYTES):
            file.write(piece)


def _kind(path: str) -> str | None:
    with contextlib.suppress(FsNotFoundError):
        return stat(path).kind
    return None


def _stat(function: str, path: str) -> FileStat:
    found = _call(function, path)
    moment = found.modified
    modified = None if moment is None else moment.seconds + moment.nanoseconds / 1e9
    return FileStat(found.size, found.kind.name.lower().replace("_", "-"), found.mode, modified)


def _call(name: str, path: str, *arguments: object) -> Any:
    try:
        return host_call("fs", name, path, *arguments)
    except FsError as error:
        other = arguments[0] if arguments and isinstance(arguments[0], str) else None
        raise error.at(path, other) from None
