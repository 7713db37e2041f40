"""`etc/plugins.toml`: what it allows, what it refuses, and edits that keep comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.pluginhost.allowlist import AllowList, edit_allow_list, load_allow_list
from astrid_hookspecs.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plugins.toml"


def test_without_a_file_every_installed_plugin_is_allowed(path: Path) -> None:
    allowed = load_allow_list(path)
    assert allowed == AllowList()
    assert allowed.chosen(["core", "acme"]) == {"core", "acme"}


def test_disabled_wins_over_everything(path: Path) -> None:
    path.write_text('[plugins]\nmode = "listed"\nenabled = ["acme"]\ndisabled = ["acme"]\n')
    allowed = load_allow_list(path)
    assert not allowed.allows("acme")
    assert allowed.chosen(["core", "acme"]) == {"core"}


def test_listed_mode_allows_only_the_listed_ones_and_the_core(path: Path) -> None:
    path.write_text('[plugins]\nmode = "listed"\nenabled = ["engine-wasm"]\n')
    allowed = load_allow_list(path)
    installed = ["acme", "core", "engine-wasm"]
    assert [name for name in installed if allowed.allows(name)] == ["core", "engine-wasm"]


def test_an_enabled_plugin_has_to_be_installed(path: Path) -> None:
    path.write_text('[plugins]\nenabled = ["absent"]\n')
    assert "absent" in load_allow_list(path).chosen(["core"])


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("[plugin]\n", "config.unknown", ":1 [plugin"),
        ("[plugins]\nenable = []\n", "config.unknown", ":2 [plugins.enable"),
        ('[plugins]\nmode = "some"\n', "config.toml", ":2 [plugins.mode"),
        ("[plugins]\nmode = 1\n", "config.toml", ":2 [plugins.mode"),
        ('[plugins]\n\nenabled = "acme"\n', "config.toml", ":3 [plugins.enabled"),
        ("[plugins]\nenabled = [1]\n", "config.toml", ":2 [plugins.enabled"),
        ('[plugins]\ndisabled = ["No Name"]\n', "config.value", ":2 [plugins.disabled"),
        ('[plugins]\ndisabled = ["core"]\n', "config.value", ":2 [plugins.disabled"),
        ("plugins = 3\n", "config.toml", ":1 [plugins"),
        ("[plugins\n", "config.toml", ":1:"),
    ],
)
def test_a_file_that_is_not_understood_refuses_everything(
    path: Path, text: str, code: str, place: str
) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_allow_list(path)
    assert caught.value.code == code
    assert f"plugins.toml{place}" in str(caught.value)


def test_a_typing_error_gets_a_suggestion(path: Path) -> None:
    path.write_text("[plugins]\ndisable = []\n")
    with pytest.raises(ConfigError) as caught:
        load_allow_list(path)
    assert caught.value.hint == "did you mean 'disabled'?"


def apply(path: Path, name: str, *, enabled: bool) -> str | None:
    text = edit_allow_list(path, name, enabled=enabled)
    if text is not None:
        path.write_text(text)
    return text


def test_disabling_creates_a_file_that_disables(path: Path) -> None:
    apply(path, "acme", enabled=False)
    assert load_allow_list(path).disabled == {"acme"}


def test_an_edit_keeps_comments_and_order(path: Path) -> None:
    path.write_text(
        '# why these\n[plugins]\nmode = "listed"  # locked down\n'
        'enabled = [\n    "zeta",  # last\n    "alpha",\n]\n'
    )
    text = apply(path, "middle", enabled=True)
    assert text is not None
    assert "# why these" in text
    assert "# locked down" in text
    assert "# last" in text
    assert text.index("zeta") < text.index("alpha") < text.index("middle")
    assert load_allow_list(path).enabled == {"zeta", "alpha", "middle"}


def test_disabling_takes_a_name_out_of_enabled(path: Path) -> None:
    path.write_text('[plugins]\nmode = "listed"\nenabled = ["acme", "other"]\n')
    apply(path, "acme", enabled=False)
    assert load_allow_list(path) == AllowList(
        listed_only=True, enabled=frozenset({"other"}), disabled=frozenset({"acme"})
    )


def test_enabling_in_open_mode_only_takes_it_out_of_disabled(path: Path) -> None:
    apply(path, "acme", enabled=False)
    apply(path, "acme", enabled=True)
    assert load_allow_list(path) == AllowList()


@pytest.mark.parametrize("enabled", [True, False])
def test_an_edit_that_changes_nothing_gives_no_text(path: Path, *, enabled: bool) -> None:
    apply(path, "acme", enabled=enabled)
    assert edit_allow_list(path, "acme", enabled=enabled) is None


def test_the_core_cannot_be_disabled(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        edit_allow_list(path, "core", enabled=False)
    assert caught.value.code == "plugin.core"


@pytest.mark.parametrize("name", ["", "a b", "A", 'x"]\n', "../x"])
def test_an_edit_refuses_what_is_no_name(path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edit_allow_list(path, name, enabled=False)
    assert caught.value.code == "plugin.invalid-name"


def test_a_malformed_file_is_not_edited(path: Path) -> None:
    path.write_text("[plugins]\nsurprise = 1\n")
    with pytest.raises(ConfigError):
        edit_allow_list(path, "acme", enabled=False)
