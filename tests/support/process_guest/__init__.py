"""A component that calls every function of `astrid:process` in its shape C, built once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.wit_guest import WIT, wit_guest


def process_guest(factory: pytest.TempPathFactory) -> Path:
    """The component's file."""
    packages = {f"{name}.wit": WIT / "deps" / f"{name}.wit" for name in ("guest", "io")}
    packages["process.wit"] = WIT / "alternates" / "process-c.wit"
    return wit_guest(factory, Path(__file__).parent, packages=packages)
