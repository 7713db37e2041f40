"""Where settings come from, and what a workspace cannot do. Spec: kernel-and-security 14, 15.13."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from astrid_core.config import Layered, load_layers
from astrid_core.config.layers import VARIABLES
from astrid_core.config.settings import SECTIONS, TABLES, Settings, settings_values
from astrid_core.config.substitute import of_workspace, substitute
from astrid_core.config.trust import RULES, weigh
from astrid_core.domain.toml_document import MAX_BYTES
from astrid_hookspecs.errors import ConfigError


class Place:
    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = root / "project"
        (self.home / "etc").mkdir(parents=True)
        (self.project / ".astrid").mkdir(parents=True)

    def user(self, text: str, *, name: str = "etc/config.toml") -> None:
        (self.home / name).write_text(text)

    def workspace(self, text: str) -> None:
        (self.project / ".astrid/config.toml").write_text(text)

    def load(
        self, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
    ) -> Layered:
        return load_layers(
            self.home, workspace=self.project, environ=environ or {}, flags=flags or {}
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_files_every_default_holds_and_says_so(place: Place) -> None:
    found = place.load()
    assert found.settings == Settings()
    assert set(found.origins.values()) == {"default"}
    assert found.notes == ()


def test_a_distribution_build_changes_defaults_and_the_operator_wins(
    place: Place, tmp_path: Path
) -> None:
    bundled = tmp_path / "bundled.toml"
    bundled.write_text('[logging]\nlevel = "debug"\n[audit]\nstrict = true\n')
    place.user('[logging]\nlevel = "warn"\n')
    found = load_layers(place.home, bundled=bundled, environ={})
    assert (found.settings.log_level, found.origins["logging.level"]) == ("warn", "user file")
    assert (found.values["audit.strict"], found.origins["audit.strict"]) == (True, "distribution")
    assert [(file.role, file.path) for file in found.files[:1]] == [("distribution", bundled)]


def test_a_mistake_in_a_distribution_build_names_its_file(place: Place, tmp_path: Path) -> None:
    bundled = tmp_path / "bundled.toml"
    bundled.write_text("[audit]\nstrikt = true\n")
    with pytest.raises(ConfigError, match=r"bundled\.toml.*strikt"):
        load_layers(place.home, bundled=bundled, environ={})


def test_each_layer_wins_over_the_one_before(place: Place) -> None:
    level, key = (lambda found: found.settings.log_level), "logging.level"
    seen = [(level(place.load()), place.load().origins[key])]
    found = place.load({"ASTRID_LOG_LEVEL": "trace"})
    seen.append((level(found), found.origins[key]))
    place.user('[logging]\nlevel = "warn"\n')
    found = place.load({"ASTRID_LOG_LEVEL": "trace"})
    seen.append((level(found), found.origins[key]))
    place.workspace('[logging]\nlevel = "debug"\n')
    found = place.load({"ASTRID_LOG_LEVEL": "trace"})
    seen.append((level(found), found.origins[key]))
    found = place.load(flags={key: "error"})
    seen.append((level(found), found.origins[key]))
    assert seen == [
        ("info", "default"),
        ("trace", "environment"),  # 190, D-81
        ("warn", "user file"),
        ("debug", "workspace file"),
        ("error", "flag"),
    ]


def test_a_variable_with_a_wrong_value_is_refused_by_name(place: Place) -> None:
    with pytest.raises(ConfigError, match="ASTRID_LOG_LEVEL"):
        place.load({"ASTRID_LOG_LEVEL": "loud"})


def test_every_variable_sets_a_setting() -> None:
    assert set(VARIABLES.values()) <= settings_values(Settings()).keys()


@pytest.mark.parametrize(
    ("user", "workspace", "key", "value"),
    [
        ("[limits]\nworkers = 4\n", "[limits]\nworkers = 200\n", "limits.workers", 4),
        ("", "[limits]\ninstances = 99999\n", "limits.instances", 256),
        ("", "[network]\nconnections = 65\n", "network.connections", 64),
        ("", '[files]\nhard_links = "read"\n', "files.hard_links", "refuse"),
        ("", '[logging]\nlevel = "error"\n', "logging.level", "info"),
        ('[logging]\nlevel = "warn"\n', '[logging]\nlevel = "error"\n', "logging.level", "warn"),
        ("", '[storage]\nbackend = "mine"\n', "storage.backend", "sqlite"),
        ("", '[kernel]\nbus = "mine"\n', "kernel.bus", "memory"),
        ("", '[engines]\ncomponent = "mine"\n', "engines.component", None),
        ("", '[secrets]\nbackend = "mine"\n', "secrets.backend", None),
        ("", '[files]\noverlay = "mine"\n', "files.overlay", None),
        ("[audit]\nstrict = true\n", "[audit]\nstrict = false\n", "audit.strict", True),
        ("", "[audit]\nmax_mib = 4\n", "audit.max_mib", 100),
        ("", "[policy]\nenforce = true\n", "policy.enforce", False),
        pytest.param(
            '[policy]\nenforce = true\nblocked_tools = ["curl"]\n',
            "[policy]\nblocked_tools = []\n",
            "policy.blocked_tools",
            ["curl"],
            id="183",
        ),
        ("[policy]\nenforce = true\n", "[policy]\nenforce = false\n", "policy.enforce", True),
        pytest.param(
            "", "[budget]\nsession_max_usd = 500.0\n", "budget.session_max_usd", 100.0, id="181"
        ),
        pytest.param(
            "", "[budget]\nsession_max_usd = 500\n", "budget.session_max_usd", 100.0, id="182"
        ),
        ("", "[budget]\nper_action_max_usd = 11\n", "budget.per_action_max_usd", 10.0),
        ("", "[budget]\nwarn_at_percent = 81\n", "budget.warn_at_percent", 80.0),
        (
            "[budget]\nworkspace_max_usd = 5.0\n",
            "[budget]\nworkspace_max_usd = 6.0\n",
            "budget.workspace_max_usd",
            5.0,
        ),
    ],
)
def test_a_setting_stays_when_a_workspace_would_widen_it(
    place: Place, user: str, workspace: str, key: str, value: object
) -> None:
    place.user(user)
    before = place.load().settings
    place.workspace(workspace)
    found = place.load()
    assert (found.settings, found.values[key]) == (before, value)
    assert found.origins[key] != "workspace file"
    (note,) = found.notes
    assert key in note
    assert ".astrid" in note


@pytest.mark.parametrize(
    ("workspace", "key", "value"),
    [
        ("[limits]\nworkers = 1\n", "limits.workers", 1),
        ('[files]\nhard_links = "refuse"\n', "files.hard_links", "refuse"),
        ('[logging]\nlevel = "trace"\n', "logging.level", "trace"),
        ("[budget]\nsession_max_usd = 1\n", "budget.session_max_usd", 1.0),
        ("[budget]\nworkspace_max_usd = 7.5\n", "budget.workspace_max_usd", 7.5),
    ],
)
def test_a_workspace_may_tighten(place: Place, workspace: str, key: str, value: object) -> None:
    place.user('[files]\nhard_links = "read"\n[limits]\nworkers = 3\n')
    place.workspace(workspace)
    found = place.load()
    assert found.values[key] == value
    assert (found.origins[key], found.notes) == ("workspace file", ())


def test_a_workspace_silences_no_level_that_a_variable_asks_for(place: Place) -> None:
    place.workspace('[logging]\nlevel = "debug"\n')
    found = place.load({"ASTRID_LOG_LEVEL": "trace"})
    assert (found.settings.log_level, found.origins["logging.level"]) == ("trace", "environment")
    (note,) = found.notes
    assert "logging.level stays 'trace'" in note


def test_a_workspace_adds_no_file_systems_and_no_identities(place: Place) -> None:
    place.workspace(
        '[mounts.notes]\nurl = "memory://x"\n[[identity.links]]\nplatform = "irc"\n'
        'platform_user_id = "7"\nastrid_user = "Ann"\n'
    )
    found = place.load()
    assert (found.settings.mounts, found.settings.links) == ({}, ())
    assert len(found.notes) == 2


def test_a_file_system_of_the_operator_is_not_redirected(place: Place) -> None:
    place.user('[mounts.notes]\nurl = "memory://x"\n')
    place.workspace('[mounts.notes]\nurl = "memory://y"\naccess = "write"\n')
    mount = place.load().settings.mounts["notes"]
    assert (mount.root, mount.writable) == ("x", False)


def test_every_rule_is_about_a_setting_that_there_is() -> None:
    assert RULES.keys() <= settings_values(Settings()).keys()


@pytest.mark.parametrize("key", sorted(settings_values(Settings()).keys() - RULES.keys()))
def test_a_setting_without_a_rule_is_the_operators(key: str) -> None:
    assert weigh(key, "a", "b").value == "a"


def test_every_setting_is_shown() -> None:
    names = {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys}
    shown = settings_values(Settings()).keys()
    assert {name for name in names - shown if name.partition(".")[0] not in TABLES} == set()


def test_a_wrong_key_in_a_workspace_is_no_silence(place: Place) -> None:
    place.workspace("[limits]\nworker = 1\n")
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert caught.value.code == "config.unknown"
    assert caught.value.hint == "did you mean 'workers'?"
    assert ".astrid/config.toml:2 [limits.worker]" in str(caught.value)


def test_191_a_file_that_is_too_large_is_refused(place: Place) -> None:
    place.user("#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert caught.value.code == "config.size"


def test_the_older_place_of_the_file_counts_while_there_is_no_new_one(place: Place) -> None:
    place.user("[limits]\nworkers = 5\n", name="config.toml")
    assert place.load().settings.limits.workers == 5
    place.user("[limits]\nworkers = 6\n")
    found = place.load()
    assert found.settings.limits.workers == 6
    assert "is ignored" in found.notes[0]


def test_a_home_inside_the_project_directory_makes_no_project_of_it(tmp_path: Path) -> None:
    home = tmp_path / ".astrid"
    home.mkdir()
    (home / "config.toml").write_text("[limits]\nworkers = 5\n")
    found = load_layers(home, workspace=tmp_path, environ={})
    assert [file.role for file in found.files] == ["user", "legacy"]
    assert found.origins["limits.workers"] == "user file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("${UNSET_X}", "${UNSET_X}", id="189-unset"),
        pytest.param("${}", "${", id="189-empty"),
        pytest.param("${A", "${A", id="189-unclosed"),
        pytest.param("$HOME", "$HOME", id="189-bare"),
        pytest.param("a${SET}b", "a1b", id="set"),
        pytest.param("${NESTED}", "${SET}", id="once"),
    ],
)
def test_references(text: str, expected: str) -> None:
    environ = {"SET": "1", "NESTED": "${SET}", "HOME": "/h"}
    assert substitute(text, environ) == expected
    assert substitute({"k": [text, 3]}, environ) == {"k": [expected, 3]}


def test_references_in_the_operators_file_are_resolved(place: Place) -> None:
    place.user('[mounts.notes]\nurl = "memory://${TEAM}"\n')
    assert place.load({"TEAM": "a"}).settings.mounts["notes"].root == "a"


def test_a_workspace_learns_no_variables_but_ours(place: Place) -> None:
    place.workspace('[logging]\nlevel = "${SECRET_LEVEL}"\n')
    with pytest.raises(ConfigError, match="SECRET_LEVEL"):
        place.load({"SECRET_LEVEL": "trace"})
    assert of_workspace({"ASTRID_X": "1", "ASTRID_API_KEY": "2", "HOME": "3"}) == {"ASTRID_X": "1"}
