"""Builds components of a few lines of Python around one interface, each once in a test run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.heartbeat import once

WIT: Final = Path(__file__).parents[2] / "wit"
_START: Final = "import sys; from componentize_py import script; sys.exit(script())"


def wit_guest(
    factory: pytest.TempPathFactory,
    source: Path,
    *,
    packages: Mapping[str, Path],
    world: str = "world.wit",
) -> Path:
    """The component's file.

    Args:
        factory: Of the test run.
        source: Directory with `app.py` and the world.
        packages: The WIT packages that the world needs, by file name.
        world: The file with the world.
    """
    with once(factory, f"{source.name}-{Path(world).stem}") as (base, is_first):
        if is_first:
            _build(base, source, packages, world)
    return base / "guest.wasm"


def _build(base: Path, source: Path, packages: Mapping[str, Path], world: str) -> None:
    deps = base / "wit" / "deps"
    deps.mkdir(parents=True)
    shutil.copy(source / world, base / "wit" / "world.wit")
    for name, path in packages.items():
        shutil.copy(path, deps / name)
    componentize(base, source, wit=base / "wit", world="probe")


def componentize(base: Path, source: Path, *, wit: Path, world: str) -> None:
    """Build `app.py` of a directory for a world, as `guest.wasm` in `base`."""
    (base / "python").mkdir()
    shutil.copy(source / "app.py", base / "python")
    (base / "empty" / "lib" / "site-packages").mkdir(parents=True)
    arguments = ["-d", str(wit), "-w", world, "--full-names", "componentize"]
    arguments += ["--stub-wasi", "-p", str(base / "python"), "app", "-o", str(base / "guest.wasm")]
    subprocess.run(
        [sys.executable, "-c", _START, *arguments],
        check=True,
        capture_output=True,
        env={"VIRTUAL_ENV": str(base / "empty"), "PYTHONHASHSEED": "0"},
        cwd=base,
    )
