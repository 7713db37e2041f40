"""A component that calls every function of `astrid:process` in its shape C, built once a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.heartbeat import once

_HERE: Final = Path(__file__).parent
_WIT: Final = _HERE.parents[2] / "wit"
_START: Final = "import sys; from componentize_py import script; sys.exit(script())"


def process_guest(factory: pytest.TempPathFactory) -> Path:
    """The component's file."""
    with once(factory, "process-guest") as (base, is_first):
        if is_first:
            _build(base)
    return base / "guest.wasm"


def _build(base: Path) -> None:
    deps = base / "wit" / "deps"
    deps.mkdir(parents=True)
    shutil.copy(_HERE / "world.wit", base / "wit")
    for name in ("guest", "io"):
        shutil.copy(_WIT / "deps" / f"{name}.wit", deps)
    shutil.copy(_WIT / "alternates" / "process-c.wit", deps / "process.wit")
    (base / "python").mkdir()
    shutil.copy(_HERE / "app.py", base / "python")
    (base / "empty" / "lib" / "site-packages").mkdir(parents=True)
    arguments = ["-d", str(base / "wit"), "-w", "probe", "--full-names", "componentize"]
    arguments += ["--stub-wasi", "-p", str(base / "python"), "app", "-o", str(base / "guest.wasm")]
    subprocess.run(
        [sys.executable, "-c", _START, *arguments],
        check=True,
        capture_output=True,
        env={"VIRTUAL_ENV": str(base / "empty"), "PYTHONHASHSEED": "0"},
        cwd=base,
    )
