"""Components that call every function of one version of `astrid:http`, each built once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.wit_guest import WIT, wit_guest


def http_guest(factory: pytest.TempPathFactory, version: str) -> Path:
    """The component's file.

    Args:
        factory: Of the test run.
        version: `1.0` or `1.1`, the only one that it imports.
    """
    texts = {"1.0": "http", "1.1": "http-1.1"}
    names = ("guest", "io", texts[version])
    packages = {f"{name}.wit": WIT / "deps" / f"{name}.wit" for name in names}
    source = Path(__file__).parent
    return wit_guest(factory, source, packages=packages, world=f"world-{version}.wit")
