"""Looks through directories. Links are listed and never followed.

Made of single looks: a tree that changes meanwhile shows each directory as it was in its turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Final

from astrid_sdk.fs_calls import call, stat_of
from astrid_sdk.fs_errors import FsError, FsNotFoundError, FsTooLargeError

MAX_NAMES: Final = 100_000
"""How many names a `glob` looks at unless told otherwise."""

_MAGIC: Final = re.compile(r"[*?\[]")
_ANY_DEPTH: Final = "**"


def walk(
    top: str = "", *, on_error: Callable[[FsError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Directories below `top`, itself first, each with its directories and its files, by name.

    As `os.walk`: take names out of the list of directories to stay out of them. Links count as
    files. What cannot be looked at is left out.

    Args:
        top: Where to begin; nothing comes when it is not there.
        on_error: Called with each error of a directory.

    Raises:
        FsError: `top` cannot be listed and there is no `on_error`.
    """
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            names: list[str] = call("fs_readdir", directory)
        except FsError as error:
            if on_error is not None:
                on_error(error)
            elif directory == top and not isinstance(error, FsNotFoundError):
                raise
            continue
        directories: list[str] = []
        files: list[str] = []
        for name in names:
            kind = _kind(join(directory, name))
            if kind is not None:
                (directories if kind == "directory" else files).append(name)
        yield directory, directories, files
        waiting += [join(directory, name) for name in reversed(directories)]


def iterdir(path: str = "") -> Iterator[str]:
    """The paths of what is in a directory, sorted; raises as `fs.listdir`, at once."""
    names: list[str] = call("fs_readdir", path)
    return (join(path, name) for name in names)


def glob(pattern: str, *, max_names: int = MAX_NAMES) -> Iterator[str]:
    """Paths that match a pattern: `docs/**/*.md`, `home://notes/*.txt`.

    `*`, `?` and `[...]` stand for parts of one name, `**` for any number of directories. As in the
    shell, a name that begins with a dot is only found by a pattern that does.

    Args:
        pattern: What to look for.
        max_names: How many names may be looked at.

    Raises:
        FsError: The first directory cannot be listed; `FsTooLargeError` after `max_names` names.
    """
    base, parts = _split(pattern)
    if not parts:
        if call("fs_exists", pattern):
            yield pattern
        return
    seen = 0
    for top, directories, files in walk(base):
        way = tuple(part for part in top.removeprefix(base).split("/") if part)
        seen += len(directories) + len(files)
        if seen > max_names:
            raise FsTooLargeError("fs", "glob", "too-large", f"more than {max_names} names")
        for name in sorted([*directories, *files], key=str.encode):
            if _matches((*way, name), parts):
                yield join(top, name)
        directories[:] = [name for name in directories if _leads((*way, name), parts)]


def join(directory: str, name: str) -> str:
    """The path of a name in a directory."""
    if not directory or directory.endswith("/"):
        return directory + name
    return f"{directory}/{name}"


def _kind(path: str) -> str | None:
    try:
        return stat_of("fs_stat_symlink", path).kind
    except FsError:  # gone meanwhile, or nobody may look at it
        return None


def _split(pattern: str) -> tuple[str, tuple[str, ...]]:
    """The directory that a pattern begins in, and its parts from the first with a wildcard on."""
    scheme, mark, rest = pattern.rpartition("://")
    head = scheme + mark or ("/" if rest.startswith("/") else "")
    parts = [part for part in rest.split("/") if part]
    first = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    tail = [
        part
        for at, part in enumerate(parts[first:], start=first)
        if not (part == _ANY_DEPTH and parts[at - 1 : at] == [_ANY_DEPTH])
    ]
    return head + "/".join(parts[:first]), tuple(tail)


def _matches(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not parts or not names:
        return not names and parts in ((), (_ANY_DEPTH,))
    if parts[0] == _ANY_DEPTH:
        return _matches(names, parts[1:]) or (_is_shown(names[0]) and _matches(names[1:], parts))
    return _fits(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _leads(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether something below may match."""
    if not parts or not names:
        return bool(parts)
    if parts[0] == _ANY_DEPTH:
        return _leads(names, parts[1:]) or (_is_shown(names[0]) and _leads(names[1:], parts))
    return _fits(names[0], parts[0]) and _leads(names[1:], parts[1:])


def _fits(name: str, part: str) -> bool:
    return (_is_shown(name) or part.startswith(".")) and fnmatchcase(name, part)


def _is_shown(name: str) -> bool:
    return not name.startswith(".")
