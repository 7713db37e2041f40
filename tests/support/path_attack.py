"""A tree under attack by a second process, and what is outside of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_S = 60
_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def attacked(inside: Path, outside: Path) -> Iterator[None]:
    """Let somebody change `inside` all the time, as `tests.support.path_attacker` does."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.path_attacker", inside, outside],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"go\n"
            yield
            assert child.poll() is None, "the attacker gave up"
        finally:
            child.kill()


def turns(seconds: float, is_enough: Callable[[], object]) -> Iterator[int]:
    """Turns of a race: for some time, and on a busy machine until it has shown enough."""
    start = time.monotonic()
    for turn in itertools.count(1):
        spent_s = time.monotonic() - start
        if spent_s >= seconds and (is_enough() or spent_s >= seconds + PATIENCE_S):
            return
        yield turn


def all_below(outside: Path) -> list[tuple[str, bytes | None]]:
    """Names and bytes outside; a directory of the tree that is there on a visit is left out."""
    found: list[tuple[str, bytes | None]] = []
    for top, directories, files in os.walk(outside):
        directory = Path(top)
        directories[:] = sorted(name for name in directories if name != "moved")
        found += [(str(directory / name), None) for name in directories]
        for path in (directory / name for name in files):
            found.append((str(path), path.read_bytes() if path.is_file() else None))
    return sorted(found, key=lambda pair: pair[0])
