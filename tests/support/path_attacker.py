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

HONEST = b"honest"


def main() -> None:
    """Attack until killed."""
    inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
    moves = [
        lambda: swap(
            inside / "s", lambda path: path.mkdir(), lambda path: path.symlink_to(outside)
        ),
        lambda: swap(inside / "f", write, lambda path: path.symlink_to(outside / "secret")),
        lambda: swap(inside / "h", write, lambda path: path.hardlink_to(outside / "secret")),
        lambda: leave(inside / "m", outside / "moved"),
    ]
    print("go", flush=True)  # noqa: T201 - what the test waits for
    for move in itertools.cycle(moves):
        with contextlib.suppress(OSError):
            move()


def swap(path: Path, honest: Callable[[Path], object], hostile: Callable[[Path], object]) -> None:
    """Let a name be the one thing, then the other, each put there in one step."""
    for number, make in enumerate((honest, hostile)):
        fresh = path.with_name(f".{path.name}{number}")
        clear(fresh)
        make(fresh)
        if path.is_dir() and not path.is_symlink():
            clear(path)
        fresh.replace(path)


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
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for child in os.scandir(path):
        clear(Path(child.path))
    path.rmdir()


if __name__ == "__main__":
    main()
