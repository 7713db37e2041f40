"""Distributions to find plugins in, and managers to register them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from astrid_core.pluginhost.manager import HookManager
from astrid_core.pluginhost.source import PluginSource
from tests.support.distributions import DistributionMaker, import_path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DistributionMaker]:
    with import_path(tmp_path / "site", monkeypatch) as maker:
        yield maker


@pytest.fixture
def source() -> PluginSource:
    return PluginSource("acme", "astrid-acme", "1.0", "astrid_acme.plugin")


@pytest.fixture
def register(source: PluginSource) -> Callable[[object], HookManager]:
    def add(plugin: object) -> HookManager:
        manager = HookManager()
        manager.add(plugin, source=source)
        manager.check_pending()
        return manager

    return add
