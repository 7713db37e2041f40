"""Calls of the host's file functions; a refusal names its path and what would allow it.

`fs` is what capsules use; it is built on this module. Spec: astrid:fs@1.0.0.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from astrid_sdk.bindings import host_call, host_type
from astrid_sdk.fs_errors import (
    FsBoundaryEscapeError,
    FsCapabilityDeniedError,
    FsError,
    FsInvalidPathError,
)
from astrid_sdk.fs_file import RawFile
from astrid_sdk.fs_paths import advice

_READS: Final = frozenset(
    {
        *("read_file", "fs_exists", "fs_readdir", "fs_stat", "fs_stat_symlink"),
        *("fs_canonicalize", "fs_read_link"),
    }
)
"""Functions of one path that need `fs_read`; the others need `fs_write`."""
_OPENING: Final = {"read": ("fs_read",), "read-write": ("fs_read", "fs_write")}
_ESCAPE: Final = "no entry of Capsule.toml allows a path that leads out of its root"


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


def call(name: str, path: str, *arguments: object) -> Any:
    """Call a function of one path.

    Raises:
        FsError: The host refused.
        TypeError: The path is no text.
    """
    listed = "fs_read" if name in _READS else "fs_write"
    return _call(name, ((listed, path),), path, *arguments)


def call_pair(name: str, source: str, target: str) -> Any:
    """Call a function of two paths; raises as `call`."""
    listed = "fs_read" if name == "fs_copy" else "fs_write"
    return _call(name, ((listed, source), ("fs_write", target)), source, target)


def open_raw(path: str, mode: str) -> RawFile:
    """Open a file; raises as `call`.

    Args:
        path: Of a file.
        mode: `read`, `write`, `append` or `read-write`.
    """
    member = getattr(host_type("fs", "OpenMode"), mode.upper().replace("-", "_"))
    wants = tuple((listed, path) for listed in _OPENING.get(mode, ("fs_write",)))
    return RawFile(_call("fs_open", wants, path, member), mode, path)


def stat_of(function: str, path: str) -> FileStat:
    """Call `fs_stat` or `fs_stat_symlink`; raises as `call`."""
    found = call(function, path)
    moment = found.modified
    modified = None if moment is None else moment.seconds + moment.nanoseconds / 1e9
    return FileStat(found.size, found.kind.name.lower().replace("_", "-"), found.mode, modified)


def _call(name: str, wants: tuple[tuple[str, str], ...], *arguments: object) -> Any:
    for _, path in wants:
        if not isinstance(path, str):
            raise TypeError(f"a path is text, not {type(path).__name__}")
    try:
        return host_call("fs", name, *arguments)
    except FsError as error:
        paths = list(dict.fromkeys(path for _, path in wants))
        hint = None
        if isinstance(error, FsCapabilityDeniedError):
            hint = advice(wants)
        elif isinstance(error, FsBoundaryEscapeError):
            hint = _ESCAPE
        raise error.at(*paths, hint=hint) from None
    except UnicodeEncodeError:
        refusal = FsInvalidPathError("fs", name.replace("_", "-"), "invalid-path")
        raise refusal.at(wants[0][1]) from None
