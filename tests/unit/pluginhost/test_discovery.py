"""Which plugins are found, and that nothing is imported before it may be."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest
from stevedore.extension import ExtensionManager

from astrid_core.pluginhost.discovery import StrictExtensionManager, find_plugins, load_plugins
from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginLoadError


def names() -> list[str]:
    return [plugin.source.name for plugin in find_plugins()]


def load(name: str) -> Any:
    (plugin,) = load_plugins(find_plugins(), names=[name])
    return plugin


def test_installed_plugins_are_found_with_their_distribution(install: Any) -> None:
    install("acme", "", distribution="astrid-acme", version="4.5.6")
    (found,) = [plugin for plugin in find_plugins() if plugin.source.name == "acme"]
    assert (found.source.distribution, found.source.version) == ("astrid-acme", "4.5.6")
    assert found.source.requirements == ("astrid-hookspecs~=0.1",)


def test_the_core_and_the_bundled_plugins_are_found() -> None:
    assert {"core", "engine-wasm", "sdk"} <= set(names())


def test_finding_imports_nothing(install: Any) -> None:
    module = install("acme", "raise SystemExit('imported')")
    assert "acme" in names()
    assert module not in sys.modules


def test_only_the_named_plugins_are_imported(install: Any) -> None:
    wanted = install("wanted", "")
    other = install("other", "raise SystemExit('imported')")
    load("wanted")
    assert wanted in sys.modules
    assert other not in sys.modules


def test_a_loaded_plugin_knows_its_source_and_its_load_time(install: Any) -> None:
    module = install("acme", "import time; time.sleep(0.002)")
    plugin = load("acme")
    assert plugin.plugin is sys.modules[module]
    assert plugin.source.distribution == "acme-acme"
    assert plugin.load_ms >= 2


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("assert False, 'no'", "AssertionError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import asyncio\nraise asyncio.CancelledError('no')", "CancelledError: no"),
        (
            "from astrid_hookspecs.errors import PluginLoadError\nraise PluginLoadError('no')",
            "PluginLoadError: no",
        ),
        (
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            "Mute: <message unavailable>",
        ),
    ],
)
def test_a_broken_import_names_distribution_version_cause_and_way_out(
    install: Any, source: str, cause: str
) -> None:
    install("acme", source, distribution="astrid-acme", version="9.9")
    with pytest.raises(PluginLoadError) as caught:
        load("acme")
    assert "astrid-acme 9.9" in caught.value.message
    assert cause in caught.value.message
    assert "astrid plugins disable acme" in str(caught.value.hint)
    assert caught.value.__cause__ is not None


def test_what_a_plugin_prints_while_it_is_imported_is_no_result(
    install: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", "print('loaded')")
    load("acme")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "loaded\n")


def test_a_keyboard_interrupt_during_an_import_is_not_swallowed(install: Any) -> None:
    install("acme", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt) as caught:
        load("acme")
    assert "plugin 'acme' of acme-acme" in caught.value.__notes__[0]
    assert "astrid plugins disable acme" in caught.value.__notes__[1]


def test_a_listed_plugin_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(PluginLoadError, match="'absent'") as caught:
        load_plugins(find_plugins(), names=["absent"])
    assert caught.value.code == "plugin.missing"


def test_two_distributions_with_one_plugin_name_are_refused_before_loading(install: Any) -> None:
    one = install("acme", "raise SystemExit", distribution="acme-one", version="1")
    install("acme", "raise SystemExit", distribution="acme-two", version="2")
    with pytest.raises(PluginConflictError) as caught:
        find_plugins()
    assert "acme-one 1" in caught.value.message
    assert "acme-two 2" in caught.value.message
    assert one not in sys.modules


def test_the_manager_itself_refuses_namesakes_too(install: Any) -> None:
    install("acme", "")
    (found,) = [plugin for plugin in find_plugins() if plugin.source.name == "acme"]
    with pytest.raises(PluginConflictError):
        StrictExtensionManager([found, found], names=["acme"])


def test_a_foreign_plugin_cannot_call_itself_core(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("core", "", distribution="evil")
    foreign = [
        found
        for found in importlib.metadata.entry_points(group="astrid.plugins")
        if found.dist is not None and found.dist.name == "evil"
    ]
    # Also where the real one is not there to clash with.
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: foreign)
    with pytest.raises(PluginConflictError, match="evil"):
        find_plugins()


@pytest.mark.parametrize("name", ["Acme", "acme_x", "acme.x", "-acme", "a--b", "a" * 65])
def test_a_malformed_plugin_name_is_refused(install: Any, name: str) -> None:
    install(name, "", distribution="acme")
    with pytest.raises(PluginContractError, match="acme"):
        find_plugins()


def test_an_entry_point_without_distribution_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    orphan = importlib.metadata.EntryPoint("acme", "acme.plugin", "astrid.plugins")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [orphan])
    with pytest.raises(PluginContractError, match="no distribution"):
        find_plugins()


def test_the_cache_file_of_stevedore_is_never_asked(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison = importlib.metadata.EntryPoint("acme", "os", "astrid.plugins")
    monkeypatch.setitem(ExtensionManager.ENTRY_POINT_CACHE, "astrid.plugins", [poison])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = install("acme", "")
    assert load("acme").plugin.__name__ == module
    assert not (tmp_path / "cache").exists()
