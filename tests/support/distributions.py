"""Real distributions on the import path, made from a few lines of source."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


class DistributionMaker:
    """Writes distributions with one plugin each into a directory on `sys.path`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(
        self,
        name: str,
        source: str,
        *,
        distribution: str | None = None,
        version: str = "1.2.3",
        requires: tuple[str, ...] = ("astrid-hookspecs~=0.1",),
    ) -> str:
        """Install a plugin; returns the name of its module."""
        module = f"plugin_under_test_{next(_numbers)}"
        (self.directory / f"{module}.py").write_text(source)
        distribution = distribution or f"acme-{name}"
        info = self.directory / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        lines.extend(f"Requires-Dist: {line}" for line in requires)
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[astrid.plugins]\n{name} = {module}\n")
        return module


@contextlib.contextmanager
def import_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DistributionMaker]:
    """A new directory on the import path; what was imported from it is forgotten afterwards."""
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)
    yield DistributionMaker(site)
    for name in set(sys.modules) - before:
        if name.startswith("plugin_under_test_"):
            del sys.modules[name]
