"""What holds for every test."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def pytest_configure() -> None:
    """Keep compiled modules even where the environment asks for none; note what guests call.

    Tests start hundreds of interpreters: without a cache, compiling the same modules again is a
    third of the run. Workers and children inherit the environment.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        sys.dont_write_bytecode = False
    if calls := os.environ.get("ASTRID_GUEST_CALLS"):
        from tests.support.guest_calls import note_calls  # noqa: PLC0415 - needs an engine

        note_calls(Path(calls))


def pytest_xdist_auto_num_workers() -> int:
    """A third of the time a worker waits for a process that a test started."""
    return (os.cpu_count() or 1) * 3 // 2
