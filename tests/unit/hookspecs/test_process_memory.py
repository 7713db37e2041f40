"""The memory of real processes, as people are told of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from astrid_hookspecs.process_memory import tree_memory

MIB = 1024 * 1024
SIZE = 24 * MIB
GROW = f"data = bytearray(b'x') * {SIZE}; print('ready', flush=True); input()"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system tells nothing about processes"
)


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_what_a_process_holds_is_counted() -> None:
    with running(GROW) as process:
        assert tree_memory(process.pid) >= SIZE


@pytest.mark.skipif(
    not Path("/proc/thread-self/children").exists(), reason="the kernel does not list children"
)
def test_what_its_descendants_hold_is_counted() -> None:
    with running(PARENT, GROW) as process:
        assert tree_memory(process.pid) >= SIZE


def test_what_has_ended_uses_nothing() -> None:
    with running(GROW) as process:
        pass
    assert tree_memory(process.pid) == 0
