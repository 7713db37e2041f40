"""Guests in several threads and a person who decides: typed errors only, and all of it adds up."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_hookspecs.errors import AstridError
from tests.support.overlay import Workspace

GUESTS = 4
STEPS = 250
Step = Callable[[], object]


def guest(ws: Workspace, seed: int) -> list[Step]:
    """What a guest does, in this order."""
    dice = random.Random(seed)  # noqa: S311 - a test
    view = ws.view

    def path() -> str:
        top = f"d{dice.randrange(4)}"
        return dice.choice(["a", "b", top, *[f"{top}/f{dice.randrange(8)}"] * 4])

    def use_file() -> None:
        file = view.open(path(), dice.choice(["read", "write", "append", "read-write"]))
        with contextlib.closing(file), contextlib.suppress(AstridError):
            file.stat()
            file.write_at(dice.randrange(5000), b"y" * dice.randrange(3000))
            file.read_at(0, 9999)
            file.truncate(dice.randrange(3000))

    ways: list[Step] = [
        use_file,
        lambda: view.replace(path(), [b"z" * dice.randrange(5000)]),
        lambda: view.unlink(path()),
        lambda: view.rename(path(), path()),
        lambda: view.mkdir(path()),
        lambda: view.rmdir(path()),
        lambda: view.link(path(), path()),
        lambda: view.names(path(), after=None, limit=5),
        lambda: view.open_directory(path()).close(),
    ]
    return [dice.choice(ways) for _ in range(STEPS)]


def person(ws: Workspace) -> list[Step]:
    """Decides, and edits below."""
    dice = random.Random(0)  # noqa: S311 - a test

    def top() -> str:
        return f"d{dice.randrange(4)}"

    def edit() -> None:
        path = f"{top()}/f{dice.randrange(8)}"
        with contextlib.suppress(OSError):  # a commit may have made something else of it
            if dice.random() < 0.5:
                ws.edit(path, b"person" * dice.randrange(50))
            else:
                (ws.lower / path).unlink()

    ways: list[Step] = [
        lambda: ws.view.commit((top(),), overwrite=dice.random() < 0.5),
        lambda: ws.view.commit(overwrite=True),
        lambda: ws.view.rollback((top(),)),
        ws.changed,
        edit,
        edit,
    ]
    return [dice.choice(ways) for _ in range(STEPS // 5)]


def run(steps: list[Step]) -> int:
    """How many of them worked; an error that has no type ends the test."""
    done = 0
    for step in steps:
        with contextlib.suppress(AstridError):
            step()
            done += 1
    return done


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.slow
def test_threads_leave_a_store_that_adds_up(ws: Workspace, seed: int) -> None:
    for number in range(20):
        ws.edit(f"d{number % 4}/f{number % 8}", b"x" * number * 100)
    descriptors = len(list(Path("/dev/fd").iterdir()))
    work = [guest(ws, seed * 10 + number) for number in range(GUESTS)]
    with ThreadPoolExecutor(GUESTS + 1) as pool:
        done = list(pool.map(run, [*work, person(ws)]))
    assert all(done), "somebody never got anything done"

    on_disk = sum(entry.stat().st_size for entry in os.scandir(ws.store / "data"))
    assert ws.view.usage_bytes() == ws.meter.used == on_disk
    assert len(list(Path("/dev/fd").iterdir())) <= descriptors
    shown, changed = ws.seen(), ws.changed()
    ws.reopen()
    assert (ws.seen(), ws.changed()) == (shown, changed)
    ws.view.rollback()
    assert (ws.seen(), ws.meter.used) == (ws.tree(), 0), "temporaries would be seen as well"
