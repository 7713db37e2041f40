"""Source routing, removal, the dependency tree, and what is asked of the operator."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astrid_core.domain.manifest import Capabilities, parse_manifest
from astrid_core.kernel.install import consent
from astrid_core.kernel.install.consent import Request, compare, requests_of
from astrid_core.kernel.install.installed import discover
from astrid_core.kernel.install.listing import dependency_tree
from astrid_core.kernel.install.places import workspace_place
from astrid_core.kernel.install.removal import remove_capsule
from astrid_core.kernel.install.sources import find_source, route
from astrid_hookspecs.errors import AuditError, CapsuleError, CapsuleNotFoundError, ConfigError

if TYPE_CHECKING:
    from conftest import Workshop

HEADER = '[package]\nname = "x"\nversion = "1.0.0"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("./x", "local", id="129-dot"),
        pytest.param("@o/r", "github", id="129-at"),
        pytest.param("openclaw:@o/r", "github", id="129-openclaw"),
        pytest.param("x", "local", id="129-name"),
        ("/abs", "local"),
        ("openclaw:name", "convert"),
        ("https://github.com/o/r", "github"),
        ("http://www.github.com/o/r.git", "github"),
        ("github.com/o/r/", "github"),
        ("./github.com/o/r", "local"),
        ("notgithub.com/o/r", "local"),
    ],
)
def test_route(text: str, expected: str) -> None:
    assert route(text) == expected


@pytest.mark.parametrize(
    "text",
    ["@o/r", "openclaw:x", "github.com/o/r", "https://example.org/x.capsule", "git@host:o/r"],
)
def test_remote_sources_are_refused_with_a_way_out(tmp_path: Path, text: str) -> None:
    with pytest.raises(CapsuleError) as caught:
        find_source(text, cwd=tmp_path)
    assert caught.value.code == "capsule.remote-source"
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["absent", "file.txt", "nul\0l", "x" * 5000])
def test_unusable_local_sources(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(CapsuleError) as caught:
        find_source(text, cwd=tmp_path)
    assert caught.value.code == "capsule.source"


def test_local_sources(tmp_path: Path) -> None:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "Capsule.toml").write_text("")
    (tmp_path / "a.capsule").write_text("")
    assert find_source("project", cwd=tmp_path) == (directory, "directory")
    assert find_source("./project/Capsule.toml", cwd=tmp_path) == (directory, "directory")
    assert find_source("a.capsule", cwd=tmp_path) == (tmp_path / "a.capsule", "archive")


def test_every_capability_is_asked_about() -> None:
    """A capability that is added to the manifest must not slip past the operator."""
    asked = {*consent._LISTS, *consent._FLAGS}
    without_effect = {"kv"}
    topics = {"ipc_publish", "ipc_subscribe"}  # in the effective access lists
    known = {field.name for field in dataclasses.fields(Capabilities)}
    assert known == asked | without_effect | topics


def test_requests_cover_the_whole_manifest() -> None:
    manifest = parse_manifest(
        HEADER
        + """
[[component]]
file = "x.wasm"
capabilities = { net = ["inner.example"] }
[capabilities]
net = ["example.org"]
net_bind = ["*"]
net_tcp_bind = ["127.0.0.1:80"]
fs_read = ["home://a"]
fs_write = ["cwd://"]
host_process = ["rg"]
identity = ["resolve"]
allow_prompt_injection = true
[env.TOKEN]
type = "secret"
[env.PLAIN]
type = "text"
[[mcp_server]]
id = "m"
type = "stdio"
command = "node"
args = ["s.mjs"]
[publish]
"tool.v1.execute.own.result" = "opaque"
"tool.v1.response.describe.*" = "opaque"
"notes.v1.saved" = "opaque"
[subscribe]
"tool.v1.execute.own" = { wit = "opaque", handler = "h" }
"tool.v1.request.describe" = { wit = "opaque", handler = "d" }
"user.v1.*" = { wit = "opaque", handler = "spy" }
"notes.v1.reindex" = "opaque"
[[interceptor]]
event = "agent.v1.say"
action = "hear"
"""
    )
    assert set(requests_of(manifest)) == {
        Request("prompt"),
        Request("network", "example.org"),
        Request("network", "inner.example"),
        Request("listen", "127.0.0.1:80"),
        Request("serve"),
        Request("read", "home://a"),
        Request("write", "cwd://"),
        Request("process", "rg"),
        Request("process", "node s.mjs"),
        Request("identity", "resolve"),
        Request("secret", "TOKEN"),
        Request("publish", "notes.v1.saved"),
        Request("intercept", "user.v1.*"),
        Request("intercept", "agent.v1.say"),
        Request("subscribe", "notes.v1.reindex"),
    }
    assert all(request.sentence for request in requests_of(manifest))


def test_a_tool_that_stays_in_its_box_asks_for_nothing() -> None:
    manifest = parse_manifest(
        HEADER
        + '[subscribe]\n"tool.v1.execute.a" = { wit = "opaque", handler = "h" }\n'
        + '[publish]\n"tool.v1.execute.a.result" = "opaque"\n'
    )
    assert requests_of(manifest) == ()


def test_wildcard_of_all_tool_topics_is_a_request() -> None:
    manifest = parse_manifest(
        HEADER + '[subscribe]\n"tool.v1.execute.*" = { wit = "opaque", handler = "h" }\n'
    )
    assert requests_of(manifest) == (Request("intercept", "tool.v1.execute.*"),)


def test_upgrade_asks_for_the_difference_only() -> None:
    old = parse_manifest(HEADER + '[capabilities]\nnet = ["a", "b"]\n')
    new = parse_manifest(HEADER + '[capabilities]\nnet = ["b", "c"]\nuplink = true\n')
    asked = compare(new, old)
    assert set(asked.added) == {Request("network", "c"), Request("uplink")}
    assert asked.dropped == (Request("network", "a"),)
    assert compare(new, None).added == compare(new, None).requests
    assert compare(old, old).added == ()


TOOL = '[subscribe]\n"tool.v1.execute.report" = { wit = "opaque", handler = "h" }\n'


def test_a_tool_that_another_capsule_offers_is_a_request() -> None:
    new = parse_manifest(HEADER + TOOL)
    other = parse_manifest(HEADER.replace('"x"', '"other"') + TOOL)
    assert compare(new, None).requests == ()
    asked = compare(new, None, others=[other])
    assert asked.added == (Request("shadow", f"report of {other.name}"),)
    assert "another capsule offers already" in asked.added[0].sentence
    assert compare(new, new, others=[other]).added == ()


EXPORTS = '[exports.astrid]\nsession = "1.2.0"\n'
IMPORTS = '[imports.astrid]\nsession = "^1"\n'


def test_sole_provider_is_not_removed(workshop: Workshop) -> None:
    workshop.install(workshop.source(name="session-store", manifest=EXPORTS))
    workshop.install(workshop.source(name="agent-loop", manifest=IMPORTS))
    with pytest.raises(CapsuleError) as caught:
        remove_capsule(workshop.home, "session-store", audit=workshop.audit)
    assert caught.value.code == "capsule.needed"
    assert "sole provider of astrid/session, needed by agent-loop" in caught.value.message
    removed = remove_capsule(workshop.home, "session-store", audit=workshop.audit, force=True)
    assert [item.capsule for item in removed.broken] == ["agent-loop"]
    assert [capsule.id for capsule in discover(workshop.home).capsules] == ["agent-loop"]
    tree = dependency_tree([capsule.manifest for capsule in discover(workshop.home).capsules])
    assert tree.unsatisfied == (("agent-loop", "astrid/session", "^1"),)


@pytest.mark.parametrize(
    ("exports", "imports"),
    [
        (EXPORTS, '[imports.astrid]\nsession = "^2"\n'),
        (EXPORTS, '[imports.astrid]\nsession = { version = "1", optional = true }\n'),
    ],
    ids=["other-version", "optional"],
)
def test_removal_matches_for_real(workshop: Workshop, exports: str, imports: str) -> None:
    """C-30."""
    workshop.install(workshop.source(name="store", manifest=exports))
    workshop.install(workshop.source(name="user", manifest=imports))
    assert remove_capsule(workshop.home, "store", audit=workshop.audit).broken == ()


def test_second_provider_frees_the_first(workshop: Workshop) -> None:
    workshop.install(workshop.source(name="one", manifest=EXPORTS))
    workshop.install(workshop.source(name="two", manifest=EXPORTS))
    workshop.install(workshop.source(name="user", manifest=IMPORTS))
    tree = dependency_tree([capsule.manifest for capsule in discover(workshop.home).capsules])
    assert [node.name for node in tree.capsules] == ["one", "two", "user"]
    assert tree.capsules[2].imports[0].providers == ("one", "two")
    assert tree.shared == (("astrid/session", ("one", "two")),)
    remove_capsule(workshop.home, "one", audit=workshop.audit)


def test_purge_deletes_settings_and_secrets(workshop: Workshop) -> None:
    env = '[env.name]\ntype = "text"\n[env.token]\ntype = "secret"\n'
    answers = {"name": "n", "token": "t"}
    workshop.install(workshop.source(manifest=env, component={}), answers)
    blobs = sorted(workshop.home.bin.iterdir())
    env_file = workshop.home.path / "home/default/.config/env/notes.env.json"
    assert (
        remove_capsule(
            workshop.home, "notes", audit=workshop.audit, secrets=workshop.secrets
        ).purged
        == ()
    )
    assert env_file.exists()
    assert workshop.secrets.values
    workshop.install(workshop.source(manifest=env, component={}))
    removed = remove_capsule(
        workshop.home, "notes", audit=workshop.audit, secrets=workshop.secrets, purge=True
    )
    assert removed.purged == ("settings", "secrets")
    assert not env_file.exists()
    assert not workshop.secrets.values
    assert sorted(workshop.home.bin.iterdir()) == blobs
    assert workshop.leftovers() == []


def test_damaged_capsule_can_be_removed(workshop: Workshop) -> None:
    workshop.install(workshop.source())
    (workshop.capsules / "notes" / "meta.json").write_text("{")
    remove_capsule(workshop.home, "notes", audit=workshop.audit)
    assert list(workshop.capsules.iterdir()) == []


def test_link_in_place_of_a_capsule_is_removed_not_followed(workshop: Workshop) -> None:
    workshop.install(workshop.source())
    outside = workshop.root / "outside"
    (workshop.capsules / "notes").rename(outside)
    (workshop.capsules / "notes").symlink_to(outside, target_is_directory=True)
    remove_capsule(workshop.home, "notes", audit=workshop.audit)
    assert list(workshop.capsules.iterdir()) == []
    assert (outside / "meta.json").exists()


def test_removal_names_its_place(workshop: Workshop) -> None:
    workspace = workshop.root / "project"
    workspace.mkdir()
    workshop.install(workshop.source())
    with pytest.raises(CapsuleNotFoundError):
        remove_capsule(workshop.home, "notes", audit=workshop.audit, workspace=workspace)
    workshop.install(workshop.source(), place=workspace_place(workspace))
    remove_capsule(workshop.home, "notes", audit=workshop.audit, workspace=workspace)
    assert [capsule.scope for capsule in discover(workshop.home, workspace=workspace).capsules] == [
        "user"
    ]


@pytest.mark.parametrize("name", ["..", "../../etc", ".staging-1"])
def test_removal_of_what_is_no_capsule_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(ConfigError):
        remove_capsule(workshop.home, name, audit=workshop.audit)


def test_a_directory_without_a_manifest_is_refused_before_anything_is_copied(
    workshop: Workshop, tmp_path: Path
) -> None:
    stuff = tmp_path / "stuff"
    stuff.mkdir()
    (stuff / "link").symlink_to("/etc/passwd")
    with pytest.raises(CapsuleError, match=r"there is no Capsule\.toml") as caught:
        workshop.install(stuff)
    assert caught.value.code == "capsule.source"


def test_what_cannot_be_recorded_is_neither_installed_nor_removed(workshop: Workshop) -> None:
    workshop.audit.is_full = True
    with pytest.raises(AuditError):
        workshop.install(workshop.source(name="notes"))
    assert discover(workshop.home).capsules == ()
    workshop.audit.is_full = False
    workshop.install(workshop.source(name="notes"))
    workshop.audit.is_full = True
    with pytest.raises(AuditError):
        remove_capsule(workshop.home, "notes", audit=workshop.audit)
    assert [capsule.id for capsule in discover(workshop.home).capsules] == ["notes"]
    workshop.audit.is_full = False
    remove_capsule(workshop.home, "notes", audit=workshop.audit)
    said = [(entry.action, entry.resource, entry.outcome) for entry in workshop.audit.entries]
    assert said == [("capsule.install", "notes", "allowed"), ("capsule.remove", "notes", "allowed")]


@pytest.mark.parametrize("text", ["loop", "loop.capsule", "gone/Capsule.toml"])
def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / text
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path.name)
    with pytest.raises(CapsuleError, match="leads nowhere") as caught:
        find_source(text, cwd=tmp_path)
    assert caught.value.code == "capsule.source"
