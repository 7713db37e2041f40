"""A source tree without a builder is refused instead of being installed empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.kernel.build import refuse_unbuilt
from astrid_core.pluginhost import PluginHost
from astrid_core.pluginhost.registry import Registry
from astrid_hookspecs.errors import CapsuleError


def test_it_is_refused_where_there_is_no_builder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(CapsuleError) as caught:
        refuse_unbuilt(Registry(lambda _hook: ()), tmp_path)
    assert caught.value.code == "capsule.no-builder"
    assert caught.value.hint == "run: pip install astrid-sdk"


def test_a_directory_without_a_project_is_taken_as_it_is(tmp_path: Path) -> None:
    refuse_unbuilt(Registry(lambda _hook: ()), tmp_path)


def test_with_builders_that_do_not_know_it_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    refuse_unbuilt(PluginHost.open(boot=False).registry, tmp_path)
