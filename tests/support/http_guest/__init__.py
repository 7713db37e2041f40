"""A component that calls every function of `astrid:http@1.1.0`, built once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.wit_guest import WIT, wit_guest


def http_guest(factory: pytest.TempPathFactory) -> Path:
    """The component's file."""
    names = ("guest", "io", "http-1.1")
    packages = {f"{name}.wit": WIT / "deps" / f"{name}.wit" for name in names}
    return wit_guest(factory, Path(__file__).parent, packages=packages)
