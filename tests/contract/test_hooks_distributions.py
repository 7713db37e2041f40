"""Distributions, the import contract and the entry points name the same plugins."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.audit_sink import audit_subject
from astrid_conformance.kinds import KINDS
from astrid_core.domain.version import VERSION
from astrid_core.pluginhost import PluginHost
from astrid_core.pluginhost.discovery import find_plugins
from astrid_core.pluginhost.source import is_kebab

ROOT = Path(__file__).parents[2]


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads((path / "pyproject.toml").read_text())


DISTRIBUTIONS = [ROOT / "tests" / "conformance", *sorted((ROOT / "plugins").glob("*/"))]
IDS = [path.name for path in DISTRIBUTIONS]


def entry_points(path: Path) -> dict[str, str]:
    found: dict[str, str] = project(path)["project"]["entry-points"]["astrid.plugins"]
    return found


def test_the_import_contract_lists_every_plugin() -> None:
    contracts = project(ROOT)["tool"]["importlinter"]["contracts"]
    (independent,) = [contract for contract in contracts if contract["id"] == "distributions"]
    listed = {name.strip() for name in independent["layers"][0].split("|")}
    packages = {
        module.partition(".")[0] for path in DISTRIBUTIONS for module in entry_points(path).values()
    }
    assert listed == packages | {"astrid_core"}


@pytest.mark.parametrize("path", DISTRIBUTIONS, ids=IDS)
def test_a_distribution_is_named_after_its_folder_and_admits_this_contract(path: Path) -> None:
    facts = project(path)["project"]
    if path.parent.name == "plugins":
        assert facts["name"] == path.name
    assert facts["name"].startswith("astrid-")
    (requirement,) = [line for line in facts["dependencies"] if "astrid-hookspecs" in line]
    assert requirement == "astrid-hookspecs ~= 0.1"
    assert not any("astrid-core" in line for line in facts["dependencies"])
    assert all(is_kebab(name) for name in entry_points(path))


@pytest.mark.parametrize("path", DISTRIBUTIONS, ids=IDS)
def test_the_entry_points_are_installed_as_written(path: Path) -> None:
    installed = {
        plugin.source.name: plugin.source.module
        for plugin in find_plugins()
        if plugin.source.distribution == project(path)["project"]["name"]
    }
    assert installed == entry_points(path)


def test_the_default_extra_names_every_first_party_plugin() -> None:
    extra = project(ROOT)["project"]["optional-dependencies"]["default"]
    names = {line.split()[0] for line in extra}
    assert names == {path.name for path in DISTRIBUTIONS if path.parent.name == "plugins"}


def test_the_version_of_the_command_line_is_that_of_the_distribution() -> None:
    assert project(ROOT)["project"]["version"] == VERSION


def test_the_minimal_plugin_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "examples" / "minimal_plugin"
    monkeypatch.syspath_prepend(path / "src")
    ((name, module),) = entry_points(path).items()
    plugin = importlib.import_module(module)
    (info,) = PluginHost.open(only=(), extra_plugins={name: plugin}).info()
    assert [(item.kind, item.name) for item in info.supplies] == [("audit-sink", "stderr")]
    (record,) = plugin.astrid_register_audit_sinks()
    for check in KINDS["audit-sink"].checks:
        result = run_check(check, lambda: audit_subject(record.factory))
        assert result.outcome is Outcome.PASSED, result
