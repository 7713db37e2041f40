"""The entries of `fs_read` and `fs_write`: what a capsule may read and change.

Trusted with one decision: whether a pattern covers a place. A place is where a path leads once
links and `..` are gone; nothing here looks at a disk. The temporary directory lies in the home, so
both are compared there, whichever name a guest used. Spec: host-abi 5.2; kernel-and-security 11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from astrid_core.domain.guest_path import (
    HOME,
    PARENT,
    TMP,
    WORKSPACE,
    format_guest_path,
    parse_guest_path,
)
from astrid_hookspecs.errors import ConfigError, VfsError

WHOLE_WORKSPACE: Final = "*"
TMP_IN_HOME: Final = (".local", "tmp")
"""Where the temporary directory lies below a home."""

_PRIVATE: Final = frozenset({".config", ".local"})
_MOUNT: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_WILDCARDS: Final = frozenset({"*", "**"})


class FilePatternError(ConfigError):
    """An entry of `fs_read` or `fs_write` can never cover a path."""

    default_code: ClassVar[str] = "file-pattern.invalid"


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a path leads.

    Attributes:
        scheme: Of the mount.
        parts: Names from the mount's root, canonical; none for the root itself.
        root: Absolute canonical path of the mount's root on the host, None where it has none.
    """

    scheme: str
    parts: tuple[str, ...]
    root: str | None = None

    @property
    def text(self) -> str:
        """The form with a scheme, which guests may see."""
        return format_guest_path(self.scheme, self.parts)

    @property
    def is_root(self) -> bool:
        """Whether it is the root of a mount, also when reached by way of another mount."""
        return not self.parts or (self.scheme == HOME and self.parts == TMP_IN_HOME)

    @property
    def is_reserved(self) -> bool:
        """Whether the kernel keeps its own things there, which no manifest can open [D-08].

        Everything below `.config` and `.local` of a home but the temporary directory. File systems
        that do not tell upper from lower case apart must not open a way around it.
        """
        scheme, parts = _in_home(self.scheme, self.parts)
        if scheme != HOME or not parts or parts[0].casefold() not in _PRIVATE:
            return False
        return parts[: len(TMP_IN_HOME)] != TMP_IN_HOME


@dataclass(frozen=True, slots=True)
class FilePattern:
    """One entry, parsed.

    Attributes:
        text: As the manifest has it.
        scheme: Of the mount; None for a literal path of the host.
        parts: Names from the root of the mount, or of the host.
    """

    text: str
    scheme: str | None
    parts: tuple[str, ...]

    def covers(self, place: FilePlace) -> bool:
        """Whether it allows the place: the path itself and everything below, by whole names.

        A place that is not canonical is covered by nothing.
        """
        if PARENT in place.parts:
            return False
        if self.scheme is None:
            if place.root is None:
                return False
            physical = (*(part for part in place.root.split("/") if part), *place.parts)
            return PARENT not in physical and physical[: len(self.parts)] == self.parts
        scheme, parts = _in_home(place.scheme, place.parts)
        return scheme == self.scheme and parts[: len(self.parts)] == self.parts


def parse_file_pattern(text: str) -> FilePattern:
    """Read one entry.

    `*` covers the workspace; `cwd://p` and `workspace://p`, `home://p`, `tmp://p` and `/tmp/p`, and
    `name://p` for a configured mount cover a path below that root; any other absolute path covers
    what lies there on the host.

    Raises:
        FilePatternError: `file-pattern.invalid`: none of these, `..`, a wildcard as a name, or text
            that no path can have.
    """
    if text == WHOLE_WORKSPACE:
        return FilePattern(text, WORKSPACE, ())
    scheme, parts = _read(text)
    if PARENT in parts:
        raise _refuse(text, "has '..', which no path has any more when it is compared")
    if not _WILDCARDS.isdisjoint(parts):
        raise _refuse(text, "has a wildcard", hint="leave it out: a path covers all below it")
    if scheme is not None:
        scheme, parts = _in_home(scheme, parts)
    return FilePattern(text, scheme, parts)


def parse_file_patterns(entries: Iterable[str]) -> tuple[FilePattern, ...]:
    """The patterns of a list, in its order; an entry that cannot be one grants nothing."""
    patterns = []
    for entry in entries:
        try:
            patterns.append(parse_file_pattern(entry))
        except FilePatternError:  # the manifest's reader warned of it
            continue
    return tuple(patterns)


def _read(text: str) -> tuple[str | None, tuple[str, ...]]:
    name, mark, _ = text.partition("://")
    schemes = {WORKSPACE, HOME, TMP}
    if mark and _MOUNT.fullmatch(name):
        schemes.add(name)
    try:
        path = parse_guest_path(text, schemes=schemes)
    except VfsError as error:
        raise _refuse(text, f"cannot be a path: {error.message}") from error
    if mark or path.scheme == TMP:
        return path
    if text.startswith("/"):
        return None, path.parts
    raise _refuse(
        text,
        "is neither '*', nor a path with a scheme, nor an absolute path",
        hint=f"for a path in the workspace write cwd://{text[:80]}",
    )


def _in_home(scheme: str, parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return (HOME, (*TMP_IN_HOME, *parts)) if scheme == TMP else (scheme, parts)


def _refuse(text: str, message: str, *, hint: str | None = None) -> FilePatternError:
    return FilePatternError(f"{text[:80]!r} {message}", hint=hint)
