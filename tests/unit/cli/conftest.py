"""A command line in this process, with a home of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from astrid_core.cli.app import root
from astrid_core.cli.entry import run
from astrid_core.cli.plugin_commands import plugin_commands


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("ASTRID_HOME", str(path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("CI", raising=False)
    return path


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    plugin_commands.cache_clear()
    root.cache_clear()
    yield
    plugin_commands.cache_clear()
    root.cache_clear()


@pytest.fixture
def astrid(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def call(*arguments: str) -> Ended:
        assert home.is_absolute()  # set in the environment
        capsys.readouterr()
        status = run(arguments)
        out, err = capsys.readouterr()
        return Ended(status, out, err)

    return call


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a plugin made from source, as distribution `astrid-<name>` 1.0."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def add(name: str, source: str) -> None:
        module = f"cli_plugin_{name.replace('-', '_')}_{abs(hash(tmp_path))}"
        (site / f"{module}.py").write_text(source)
        info = site / f"astrid_{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: astrid-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[astrid.plugins]\n{name} = {module}\n")

    return add
