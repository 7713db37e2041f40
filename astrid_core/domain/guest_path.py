"""Paths as guests write them: which mount they name, and which names below it.

Trusted with the text alone. What comes out may still contain `..`, whose meaning depends on the
links in the tree; `astrid_core.host.fs_resolve` settles that. Spec: host-abi 2.6, 5.1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from typing import Final, NamedTuple

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs_paths import MAX_NAME_BYTES, MAX_PATH_BYTES, is_temporary_name

WORKSPACE: Final = "workspace"
HOME: Final = "home"
TMP: Final = "tmp"
PARENT: Final = ".."

_ALIASES: Final = {"cwd": WORKSPACE}
_MARK: Final = "://"
_TMP_ROOT: Final = "/tmp"  # noqa: S108 - the guest's spelling of its mount, not the host's directory
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class GuestPath(NamedTuple):
    """A mount, and the way from its root.

    Attributes:
        scheme: `workspace`, `home`, `tmp`, or the name of a configured mount.
        parts: Names, and `..` where the guest wrote it; none for the root.
    """

    scheme: str
    parts: tuple[str, ...]


def parse_guest_path(text: str, *, schemes: Container[str]) -> GuestPath:
    """Read a path argument of a guest.

    A text without a scheme, with or without leading slashes, lies in the workspace; `/tmp` and what
    is below it in the temporary directory. Empty parts and `.` are left out.

    Args:
        text: As the guest wrote it.
        schemes: Mounts that there are; `cwd` is another name of `workspace`.

    Raises:
        VfsError: `vfs.invalid-path`: an unknown scheme, or what `check_path_text` and `check_name`
            refuse.

    Spec: host-abi 5.1, H-01.
    """
    check_path_text(text)
    name, mark, rest = text.partition(_MARK)
    if mark:
        scheme = _ALIASES.get(name, name)
        if scheme not in schemes:
            raise _invalid(f"{name[:40]!r} is not a mount")
        return GuestPath(scheme, split_names(rest))
    if text == _TMP_ROOT or text.startswith(f"{_TMP_ROOT}/"):
        return GuestPath(TMP, split_names(text.removeprefix(_TMP_ROOT)))
    return GuestPath(WORKSPACE, split_names(text))


def format_guest_path(scheme: str, parts: Iterable[str]) -> str:
    """The form with a scheme: `workspace://d/a.txt`. `parse_guest_path` reads it back."""
    return f"{scheme}{_MARK}{'/'.join(parts)}"


def check_path_text(text: str) -> None:
    """Check a whole path before it is taken apart.

    Raises:
        VfsError: `vfs.invalid-path`: more than 4096 bytes, NUL or another control character, not in
            normal form C, or no Unicode text.
    """
    # The character count bounds the byte count from below, so hostile text is not encoded first.
    if len(text) > MAX_PATH_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise _invalid(f"a path has at most {MAX_PATH_BYTES} bytes")
    if _CONTROL.search(text):
        raise _invalid("a path has no control characters")
    if text.isascii():
        return
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _invalid("a path is Unicode text")
    if not unicodedata.is_normalized("NFC", text):
        raise _invalid("a path is in normal form C")


def split_names(text: str) -> tuple[str, ...]:
    """The parts between slashes, without empty ones and `.`.

    Raises:
        VfsError: `vfs.invalid-path`: a name of more than 255 bytes, or one that the kernel keeps
            for its temporaries.
    """
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    for part in parts:
        if len(part.encode()) > MAX_NAME_BYTES:
            raise _invalid(f"a name has at most {MAX_NAME_BYTES} bytes")
        if is_temporary_name(part):
            raise _invalid("names of that form are kept for the kernel")
    return parts


def _invalid(message: str) -> VfsError:
    return VfsError(message, code="vfs.invalid-path")
