"""What every file system backend does the same way: read paths, name temporaries, word errors."""

from __future__ import annotations

import errno
import functools
import re
from typing import Final

from astrid_hookspecs.errors import PathEscapeError, VfsError, VfsNotFoundError

MAX_PATH_BYTES: Final = 4096
MAX_NAME_BYTES: Final = 255

VFS_CODES: Final = frozenset(
    f"vfs.{case}"
    for case in (
        "not-found",
        "access",
        "read-only",
        "invalid-path",
        "link",
        "would-block",
        "is-directory",
        "not-directory",
        "not-empty",
        "too-large",
        "quota",
        "cross-vfs",
        "already-exists",
        "closed",
        "conflict",
        "unsupported",
        "failed",
    )
)
"""Codes of `VfsError`. All but `read-only` (access), `link`, `conflict`, `unsupported` and `failed`
are named after the guest's error case. Spec: host-abi 5.3."""

_TEMPORARY: Final = ".astrid-tmp-"
_TOKEN: Final = re.compile(r"[A-Za-z0-9]{1,32}")

_NAME: Final = r"(?!\.{1,2}(?:/|\Z))[\x01-.0-\x7f]{1,255}+"
_is_plain: Final = re.compile(
    rf"(?!.{{{MAX_PATH_BYTES + 1}}}){_NAME}(?:/{_NAME})*+", re.DOTALL
).fullmatch
"""Matches canonical paths of ASCII names: the usual case, decided in one go."""

_REMEMBERED: Final = 512
"""Paths that were read before: one is resolved, then opened. They take 4 MiB at most."""

_CASES: Final = {
    errno.EACCES: "access",
    errno.EPERM: "access",
    errno.EROFS: "read-only",
    errno.EISDIR: "is-directory",
    errno.ENOTDIR: "not-directory",
    errno.ENOTEMPTY: "not-empty",
    errno.EEXIST: "already-exists",
    errno.EXDEV: "cross-vfs",
    errno.EAGAIN: "would-block",
    errno.ENOSPC: "quota",
    errno.EDQUOT: "quota",
    errno.EMFILE: "quota",
    errno.ENFILE: "quota",
    errno.EFBIG: "too-large",
    errno.ENAMETOOLONG: "invalid-path",
    errno.EINVAL: "invalid-path",
    errno.EILSEQ: "invalid-path",
    errno.ELOOP: "link",
    errno.ENOTSUP: "unsupported",
}


def path_parts(path: str) -> tuple[str, ...]:
    """Take a canonical path apart.

    Returns:
        Its names; none for the directory itself.

    Raises:
        PathEscapeError: It is absolute or has a `..` part.
        VfsError: `vfs.invalid-path`: an empty part, `.`, a NUL, a name above 255 bytes, more than
            4096 bytes in all, or text without a UTF-8 form.
    """
    if not _is_plain(path):
        _check_canonical(path)
    return tuple(path.split("/")) if path else ()


@functools.lru_cache(maxsize=_REMEMBERED)
def path_bytes(path: str) -> bytes:
    """The UTF-8 form of a canonical path; empty for the directory itself.

    Raises:
        PathEscapeError, VfsError: As `path_parts`.
    """
    if not _is_plain(path):
        _check_canonical(path)
    return path.encode()


def temporary_name(token: str) -> str:
    """The name of the temporary that `replace` and a conditional `unlink` use for a token.

    Raises:
        VfsError: `vfs.invalid-path`: the token is not 1-32 ASCII letters and digits.
    """
    if _TOKEN.fullmatch(token) is None:
        raise VfsError("a token has 1 to 32 letters and digits", code="vfs.invalid-path")
    return _TEMPORARY + token


def is_temporary_name(name: str) -> bool:
    """Whether a name belongs to an operation that is under way, or was when its process died."""
    return name.startswith(_TEMPORARY)


def vfs_error(error: OSError) -> VfsError:
    """The typed error for what the operating system answered, without any path.

    Spec: host-abi 5.3.
    """
    if error.errno == errno.ENOENT:
        return VfsNotFoundError("there is no such file or directory")
    name = errno.errorcode.get(error.errno or 0, "EIO")
    case = _CASES.get(error.errno or 0, "failed")
    return VfsError(f"the file system answered {name}", code=f"vfs.{case}")


def _check_canonical(path: str) -> None:
    if not path:
        return
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise PathEscapeError("the path leads outside its root", rule="vfs.beneath")
    if not _is_text(path) or "\0" in path or any(not _is_name(part) for part in parts):
        raise VfsError(f"{path[:80]!r} is not a path", code="vfs.invalid-path")


def _is_text(path: str) -> bool:
    if len(path) > MAX_PATH_BYTES:
        return False
    try:
        return len(path.encode()) <= MAX_PATH_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _is_name(part: str) -> bool:
    return part not in ("", ".") and len(part.encode()) <= MAX_NAME_BYTES
