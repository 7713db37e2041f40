"""A process that changes a tree under the hands of the kernel, for tests of races.

    python -m tests.support.path_attacker INSIDE OUTSIDE

INSIDE is part of what guests see, OUTSIDE holds `secret`. Until it is killed, it lets names inside
be, in turn: a directory and a link to OUTSIDE, a file and a link to the secret, a file and a hard
link to the secret; and it moves a directory out of the tree and back.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from astrid_core.builtin.host_vfs.syscalls import RENAME_EXCHANGE, renameat2

HONEST = b"honest"
Make = Callable[[Path], object]


def main() -> None:
    """Attack until killed."""
    inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
    names: dict[str, tuple[Make, Make]] = {
        "s": (lambda path: path.mkdir(), lambda path: path.symlink_to(outside)),
        "f": (write, lambda path: path.symlink_to(outside / "secret")),
        "h": (write, lambda path: path.hardlink_to(outside / "secret")),
    }
    print("go", flush=True)  # noqa: T201 - what the test waits for
    for turn in itertools.cycle((0, 1)):
        for name, makes in names.items():
            with contextlib.suppress(OSError):
                swap(inside / name, makes[turn])
        with contextlib.suppress(OSError):
            leave(inside / "m", outside / "moved")


def swap(path: Path, make: Make) -> None:
    """Let a name be another thing, in one step, so that it is never nothing."""
    fresh = path.with_name(f".{path.name}")
    clear(fresh)
    make(fresh)
    if os.path.lexists(path) and _is_directory(path) is not _is_directory(fresh):
        exchange(fresh, path)
        clear(fresh)
    else:
        fresh.replace(path)


def exchange(one: Path, other: Path) -> None:
    """Let two names of a directory change places."""
    directory = os.open(one.parent, os.O_RDONLY)
    try:
        renameat2(directory, os.fsencode(one.name), os.fsencode(other.name), RENAME_EXCHANGE)
    finally:
        os.close(directory)


def leave(path: Path, other: Path) -> None:
    """Move a directory out of the tree and back, with a secret in it meanwhile."""
    path.mkdir(exist_ok=True)
    path.replace(other)
    link = other / "secret"
    with contextlib.suppress(FileExistsError):
        link.symlink_to(other.parent / "secret")
    link.unlink()
    other.replace(path)


def write(path: Path) -> None:
    """An honest file."""
    path.write_bytes(HONEST)


def clear(path: Path) -> None:
    """Make a name free; what a guest put into a directory goes along."""
    if not _is_directory(path):
        path.unlink(missing_ok=True)
        return
    for child in os.scandir(path):
        clear(Path(child.path))
    path.rmdir()


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


if __name__ == "__main__":
    main()
