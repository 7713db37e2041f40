"""`astrid plugins`: the truth about what is installed, and edits that survive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Astrid = Callable[..., Any]

MEMORY_STORE = """
from astrid_hookspecs import hookimpl
from astrid_hookspecs.stores import KvStoreRecord

@hookimpl
def astrid_register_kv_stores():
    return [KvStoreRecord("memory", print)]
"""


def row(ended: Any, **wanted: object) -> dict[str, Any]:
    (found,) = [r for r in ended.json if all(r[key] == value for key, value in wanted.items())]
    return dict(found)


def test_each_thing_is_listed_with_kind_distribution_and_state(astrid: Astrid) -> None:
    sqlite = row(astrid("plugins", "list", "--json"), kind="kv-store", name="sqlite")
    assert sqlite["distribution"] == "astrid-core"
    assert sqlite["version"]
    assert sqlite["active"] is True
    assert sqlite["load_ms"] >= 0
    assert sqlite["error"] is None


def test_a_store_that_is_not_configured_is_not_active(
    astrid: Astrid, install: Any, home: Path
) -> None:
    install("store-memory", MEMORY_STORE)
    assert row(astrid("plugins", "list", "--json"), name="memory", kind="kv-store")["active"] is (
        False
    )
    (home / "etc").mkdir(parents=True)
    (home / "etc" / "config.toml").write_text('[storage]\nbackend = "memory"\n')
    listed = astrid("plugins", "list", "--json")
    assert row(listed, name="memory", kind="kv-store")["active"] is True
    assert row(listed, name="sqlite")["active"] is False


def test_a_broken_plugin_is_listed_with_its_error(astrid: Astrid, install: Any) -> None:
    install("broken", "import nowhere_to_be_found")
    ended = astrid("plugins", "list", "--json")
    assert ended.status == 0
    broken = row(ended, plugin="broken")
    assert "nowhere_to_be_found" in broken["error"]
    assert broken["active"] is False
    assert "would not start" in ended.stderr
    assert "broken" in astrid("plugins", "list").stdout


def test_a_plugin_that_breaks_the_look_up_of_a_command_is_reported_as_json(
    astrid: Astrid, install: Any
) -> None:
    install("broken", "raise RuntimeError('no')")
    ended = astrid("no-such-command", "--json")
    assert ended.status == 1
    assert ended.json["error"]["code"] == "plugin.load"
    assert "astrid-broken" in ended.json["error"]["message"]
    assert ended.stderr == ""


def test_a_conflict_between_plugins_is_reported(astrid: Astrid, install: Any) -> None:
    install("rival", MEMORY_STORE.replace("memory", "sqlite"))
    ended = astrid("plugins", "list")
    assert ended.status == 0
    assert "astrid-rival" in ended.stderr
    assert "astrid-core" in ended.stderr


def test_show_tells_everything_about_one(astrid: Astrid) -> None:
    facts = astrid("plugins", "show", "core", "--json").json
    assert facts["distribution"] == "astrid-core"
    assert "astrid_register_kv_stores" in facts["hooks"]
    assert "kv-store sqlite" in astrid("plugins", "show", "core").stdout


@pytest.mark.parametrize("verb", ["show", "enable"])
def test_an_unknown_plugin_is_an_error(astrid: Astrid, verb: str) -> None:
    ended = astrid("plugins", verb, "absent")
    assert ended.status == 1
    assert "'absent'" in ended.stderr
    assert "plugins list" in ended.stderr
    assert "did you mean 'engine-wasm'?" in astrid("plugins", verb, "engin-wasm").stderr


def test_disable_and_enable_write_a_private_file(astrid: Astrid, home: Path) -> None:
    assert astrid("plugins", "disable", "engine-wasm").stdout == "✓ engine-wasm is disabled\n"
    path = home / "etc" / "plugins.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert row(astrid("plugins", "list", "--json"), plugin="engine-wasm")["enabled"] is False
    again = astrid("plugins", "disable", "engine-wasm", "--json")
    assert again.json == {"plugin": "engine-wasm", "enabled": False, "changed": False}
    assert astrid("plugins", "enable", "engine-wasm", "--json").json["changed"] is True
    assert row(astrid("plugins", "list", "--json"), plugin="engine-wasm")["enabled"] is True


def test_a_broken_plugin_can_be_disabled(astrid: Astrid, install: Any) -> None:
    install("broken", "raise SystemExit(9)")
    assert astrid("plugins", "disable", "broken").status == 0
    assert "would not start" not in astrid("plugins", "list").stderr


def test_an_import_that_is_interrupted_is_named(astrid: Astrid, install: Any) -> None:
    install("endless", "raise KeyboardInterrupt")
    ended = astrid("plugins", "list", "--json")
    assert (ended.status, ended.stdout) == (130, "")
    assert "while plugin 'endless' of astrid-endless 1.0 was imported" in ended.stderr
    assert "astrid plugins disable endless" in ended.stderr


def test_enabling_imports_nothing(astrid: Astrid, install: Any) -> None:
    install("broken", "raise SystemExit(9)")
    assert astrid("plugins", "enable", "broken").status == 0


def test_the_core_cannot_be_disabled(astrid: Astrid, home: Path) -> None:
    ended = astrid("plugins", "disable", "core")
    assert ended.status == 1
    assert "core" in ended.stderr
    assert not (home / "etc" / "plugins.toml").exists()


def test_a_malformed_allow_list_stops_every_plugin_command(astrid: Astrid, home: Path) -> None:
    (home / "etc").mkdir(parents=True)
    (home / "etc" / "plugins.toml").write_text("[plugins]\nmood = 1\n")
    for arguments in (("list",), ("show", "core"), ("disable", "sdk")):
        ended = astrid("plugins", *arguments)
        assert ended.status == 1
        assert "plugins.toml:2 [plugins.mood]" in ended.stderr


def test_a_wrong_home_is_refused(astrid: Astrid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRID_HOME", "relative/dir")
    ended = astrid("plugins", "list")
    assert ended.status == 1
    assert ended.stderr.startswith("✗ error: ")
    assert "absolute" in ended.stderr


def test_a_disabled_plugin_is_not_imported_to_be_checked(astrid: Astrid, install: Any) -> None:
    install("broken", "raise SystemExit(9)")
    assert astrid("plugins", "disable", "broken").status == 0
    ended = astrid("plugins", "check", "broken", "--json")
    assert ended.status == 1
    assert ended.json["error"]["code"] == "plugin.disabled"
    assert "astrid plugins enable broken" in ended.json["error"]["hint"]
