"""`etc/config.toml`: closed defaults, and no key that is quietly not applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.config import EngineSettings, Settings, load_layers
from astrid_core.config.budget import BudgetSettings
from astrid_core.config.settings import AuditSettings, LinkSettings, MountSettings, settings_values
from astrid_core.domain.action_policy import BLOCKED_COMMANDS
from astrid_hookspecs.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc" / "config.toml"


def load_settings(path: Path) -> Settings:
    return load_layers(path.parents[1], environ={}).settings


def test_without_a_file_every_default_holds(path: Path) -> None:
    settings = load_settings(path)
    assert settings == Settings()
    assert (settings.bus, settings.storage, settings.secrets) == ("memory", "sqlite", None)
    assert settings.engines.for_entry("component") is None


def test_an_empty_file_says_nothing(path: Path) -> None:
    path.write_text("# nothing\n")
    assert load_settings(path) == Settings()


def test_everything_can_be_set(path: Path) -> None:
    path.write_text(
        '[kernel]\nbus = "fast"\n[storage]\nbackend = "memory"\n[secrets]\nbackend = "file"\n'
        '[engines]\ncomponent = "wasm"\nmcp_server = "mcp"\n'
        '[limits]\nworkers = 3\ninstances = 7\n[logging]\nlevel = "debug"\n'
        '[files]\noverlay = "mine"\nhard_links = "read"\n'
        "[audit]\nstrict = true\nmax_mib = 8\nmax_age_days = 2\n[network]\nconnections = 5\n"
        "[budget]\nsession_max_usd = 5\nper_action_max_usd = 1.5\nwarn_at_percent = 50\n"
        "workspace_max_usd = 20.0\n"
        '[mounts.notes]\nurl = "memory://shared/notes"\n'
        '[mounts.team-wiki]\nurl = "zip:///w.zip"\naccess = "write"\n'
        '[[identity.links]]\nplatform = "irc"\nplatform_user_id = "7"\nastrid_user = "Ann"\n'
        '[[identity.links]]\nplatform = "irc"\nplatform_user_id = "8"\nastrid_user = "Ben"\n'
        'method = "system"\n'
    )
    settings = load_settings(path)
    assert settings.bus == "fast"
    assert settings.storage == "memory"
    assert settings.secrets == "file"
    assert settings.engines == EngineSettings(component="wasm", mcp_server="mcp")
    assert settings.engines.for_entry("mcp_server") == "mcp"
    assert settings.engines.for_entry("other") is None
    assert (settings.limits.workers, settings.limits.instances) == (3, 7)
    assert settings.log_level == "debug"
    assert settings.connections == 5
    assert settings.budget == BudgetSettings(5.0, 1.5, 50.0, 20.0)
    assert (settings.files.overlay, settings.files.reads_hard_links) == ("mine", True)
    assert settings.audit == AuditSettings(strict=True, max_mib=8, max_age_days=2)
    assert settings.mounts == {
        "notes": MountSettings("memory", "shared/notes", writable=False),
        "team-wiki": MountSettings("zip", "/w.zip", writable=True),
    }
    assert settings.links == (
        LinkSettings("irc", "7", "Ann", "admin"),
        LinkSettings("irc", "8", "Ben", "system"),
    )


def test_an_empty_method_of_a_link_is_the_usual_one(path: Path) -> None:
    path.write_text(
        '[[identity.links]]\nplatform = "irc"\nplatform_user_id = "7"\nastrid_user = "Ann"\n'
        'method = ""\n'
    )
    assert load_settings(path).links == (LinkSettings("irc", "7", "Ann", "admin"),)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("[storge]\n", "config.unknown", ":1 [storge]:"),
        ("[storage]\nbackand = 1\n", "config.unknown", ":2 [storage.backand]:"),
        ("top = 1\n", "config.unknown", ":1 [top]:"),
        ("storage = 1\n", "config.toml", ":1 [storage]:"),
        ("[[storage]]\n", "config.toml", ":1 [storage]:"),
        ("[storage]\nbackend = 1\n", "config.toml", ":2 [storage.backend]:"),
        ('[storage]\nbackend = "../x"\n', "config.value", ":2 [storage.backend]:"),
        ('[kernel]\nbus = ""\n', "config.value", ":2 [kernel.bus]:"),
        ('[engines]\nwasm = "wasm"\n', "config.unknown", ":2 [engines.wasm]:"),
        ("[limits]\nworkers = 0\n", "config.value", ":2 [limits.workers]:"),
        ("[limits]\nworkers = 257\n", "config.value", ":2 [limits.workers]:"),
        ("[limits]\ninstances = true\n", "config.toml", ":2 [limits.instances]:"),
        ('[logging]\nlevel = "loud"\n', "config.toml", ":2 [logging.level]:"),
        ("[audit]\nstrict = 1\n", "config.toml", ":2 [audit.strict]:"),
        ("[budget]\nsession_max_usd = 0\n", "config.value", ":2 [budget.session_max_usd]:"),
        ("[budget]\nsession_max_usd = nan\n", "config.toml", ":2 [budget.session_max_usd]:"),
        ("[budget]\nsession_max_usd = inf\n", "config.toml", ":2 [budget.session_max_usd]:"),
        ('[budget]\nsession_max_usd = "9"\n', "config.toml", ":2 [budget.session_max_usd]:"),
        ("[budget]\nwarn_at_percent = 101\n", "config.value", ":2 [budget.warn_at_percent]:"),
        ("[policy]\nenforce = 1\n", "config.toml", ":2 [policy.enforce]:"),
        ('[policy]\ndenied_paths = ["*{"]\n', "config.value", ":2 [policy.denied_paths[0]]:"),
        ("[policy]\nmax_argument_bytes = -1\n", "config.value", ":2 [policy.max_argument_bytes]"),
        ("[policy]\nblocked = []\n", "config.unknown", ":2 [policy.blocked]:"),
        ("[budget]\nper_action = 1\n", "config.unknown", ":2 [budget.per_action]:"),
        ("[audit]\nmax_mib = 1\n", "config.value", ":2 [audit.max_mib]:"),
        ('[files]\nhard_links = "follow"\n', "config.toml", ":2 [files.hard_links]:"),
        ('[mounts.home]\nurl = "memory://"\n', "config.value", ":1 [mounts.home]:"),
        ('[mounts.cwd]\nurl = "memory://"\n', "config.value", ":1 [mounts.cwd]:"),
        ('[mounts.Notes]\nurl = "memory://"\n', "config.value", ":1 [mounts.Notes]:"),
        (
            '[[identity.links]]\nplatform = ""\nplatform_user_id = "7"\nastrid_user = "A"\n',
            "config.value",
            ":2 [identity.links[0].platform]:",
        ),
        ("[mounts.notes]\n", "config.toml", ":1 [mounts.notes.url]:"),
        ('[mounts.notes]\nurl = "/etc"\n', "config.value", ":2 [mounts.notes.url]:"),
        ("[mounts]\nnotes = 1\n", "config.toml", ":2 [mounts.notes]:"),
        ("[identity]\nlinks = 1\n", "config.toml", ":2 [identity.links]:"),
        ("[identity]\nusers = 1\n", "config.unknown", ":2 [identity.users]:"),
        ("[[identity.links]]\n", "config.toml", ":1 [identity.links[0].platform]:"),
        (
            "[[identity.links]]\nplatform = 1\n",
            "config.toml",
            ":2 [identity.links[0].platform]:",
        ),
        (
            '[[identity.links]]\nuser = "x"\n',
            "config.unknown",
            ":2 [identity.links[0].user]:",
        ),
        (
            '[mounts.notes]\nurl = "memory://"\naccess = "all"\n',
            "config.toml",
            ":3 [mounts.notes.access]:",
        ),
        (
            '[mounts.notes]\nurl = "memory://"\nmode = 1\n',
            "config.unknown",
            ":3 [mounts.notes.mode]:",
        ),
    ],
)
def test_one_wrong_key_refuses_the_whole_file(path: Path, text: str, code: str, place: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.code == code
    assert f"config.toml{place}" in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().bus = "other"  # type: ignore[misc]


def test_a_policy_counts_when_it_is_switched_on(path: Path) -> None:
    said = '[policy]\nblocked_tools = ["curl"]\nmax_argument_bytes = 0\n'
    path.write_text(said)
    assert load_settings(path).policy is None
    path.write_text(said + "enforce = true\n")
    policy = load_settings(path).policy
    assert policy is not None
    assert (policy.blocked_tools, policy.max_argument_bytes) == (("curl",), 0)
    assert policy.approval_required_tools == ()
    values = settings_values(load_settings(path))
    assert (values["policy.enforce"], values["policy.blocked_tools"]) == (True, ["curl"])
    path.write_text("[policy]\nenforce = true\n")
    usual = load_settings(path).policy
    assert usual is not None
    assert usual.blocked_tools == BLOCKED_COMMANDS
