"""Installing: what is there afterwards, and that failures and no-ops change nothing."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from astrid_core.kernel.install import journal
from astrid_core.kernel.install.installed import load_installed
from astrid_core.kernel.install.installer import stage
from astrid_core.kernel.install.places import workspace_place
from astrid_core.kernel.install.sources import find_source
from astrid_hookspecs.errors import (
    ArchiveError,
    AstridError,
    CapsuleError,
    ComponentError,
    ConfigError,
    GuestTrapError,
    IntegrityError,
    ManifestError,
    PluginLoadError,
    SecretError,
    StoreError,
)

if TYPE_CHECKING:
    from conftest import Workshop

TOOL = """
[subscribe]
"tool.v1.execute.note_save" = { wit = "opaque", handler = "tool_execute_note_save" }
"tool.v1.execute.note_find" = { wit = "opaque", handler = "tool_execute_note_find" }
[publish]
"tool.v1.execute.*.result" = "opaque"
[[tool]]
name = "note_find"
description_for_llm = "Find notes"
"""
ENV = """
[env.name]
type = "text"
request = "Your name"
[env.token]
type = "secret"
[env.hosts]
type = "array"
[env.mode]
type = "select"
enum_values = ["fast", "exact"]
default = "fast"
"""


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
def test_what_is_installed(workshop: Workshop, packed: bool) -> None:
    source = workshop.source(
        component={"x": 1},
        manifest='[imports]\n"acme:embed" = "1"\n[exports.acme]\nnotes = "1.4.0"\n' + TOOL,
        files={"wit/a.wit": "package a:b;", "wit/deps/c.wit": "package c:d;", "GUIDE.md": "hi"},
    )
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o4755)
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("private")
    steps: list[tuple[str, float | None]] = []
    result = workshop.install(
        workshop.pack(source) if packed else source,
        progress=lambda step, fraction: steps.append((step, fraction)),
    )
    assert (result.outcome, result.previous_version) == ("installed", None)
    target = workshop.capsules / "notes"
    modes = {str(p.relative_to(target)): stat.S_IMODE(p.stat().st_mode) for p in target.rglob("*")}
    assert modes == {
        "Capsule.toml": 0o600,
        "GUIDE.md": 0o600,
        "meta.json": 0o600,
        "run.sh": 0o700,
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    meta = json.loads((target / "meta.json").read_text())
    digest = blake3(b'{"x": 1}').hexdigest()
    assert meta["version"] == "1.0.0"
    assert meta["wasm_hash"] == digest
    assert meta["imports"] == {"acme": {"embed": "^1"}}
    assert meta["exports"] == {"acme": {"notes": "1.4.0"}}
    assert meta["wit_files"] == {
        "a.wit": blake3(b"package a:b;").hexdigest(),
        "deps/c.wit": blake3(b"package c:d;").hexdigest(),
    }
    assert meta["tools"] == [
        {"name": "note_save"},
        {"name": "note_find", "description": "Find notes"},
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["installed_at"])
    assert (workshop.home.bin / f"{digest}.wasm").read_bytes() == b'{"x": 1}'
    assert (workshop.home.wit / f"{meta['wit_files']['a.wit']}.wit").exists()
    assert (workshop.home.var / digest).exists()  # compiled before it was put in place
    assert steps == [("compiling core.wasm", 1.0)]
    assert load_installed(workshop.home, "notes") == result.capsule
    assert workshop.leftovers() == []


def test_upgrade_keeps_what_must_be_kept(workshop: Workshop) -> None:
    first = workshop.install(workshop.source(files={"old.md": "x"}))
    second = workshop.install(workshop.source(version="1.1.0", files={"new.md": "x"}))
    assert (second.outcome, second.previous_version) == ("upgraded", "1.0.0")
    assert second.capsule.meta.installed_at == first.capsule.meta.installed_at
    assert second.capsule.meta.version == "1.1.0"
    assert sorted(p.name for p in (workshop.capsules / "notes").iterdir()) == [
        "Capsule.toml",
        "meta.json",
        "new.md",
    ]
    assert workshop.leftovers() == []


def test_same_content_again_does_nothing(workshop: Workshop) -> None:
    source = workshop.source(component={"install": {"a": "1"}, "upgrade": "trap"})
    workshop.install(source)
    before = snapshot(workshop.capsules)
    result = workshop.install(workshop.pack(source))
    assert (result.outcome, result.previous_version) == ("unchanged", "1.0.0")
    assert snapshot(workshop.capsules) == before
    assert workshop.leftovers() == []


def test_same_version_with_other_content_is_reinstalled(workshop: Workshop) -> None:
    workshop.install(workshop.source(files={"a.md": "1"}))
    result = workshop.install(workshop.source(files={"a.md": "2"}))
    assert result.outcome == "reinstalled"
    assert (workshop.capsules / "notes" / "a.md").read_text() == "2"


def test_damaged_installation_is_put_right_as_a_first_one(workshop: Workshop) -> None:
    """Vector 124: without a believable meta.json, the install hook runs."""
    source = workshop.source(component={"install": "copy", "upgrade": "trap"})
    first = workshop.install(source)
    (workshop.capsules / "notes" / "meta.json").unlink()
    with workshop.home.lock():
        result = workshop.install(source)
    assert (result.outcome, result.previous_version) == ("installed", None)
    assert result.capsule.meta.installed_at >= first.capsule.meta.installed_at
    assert workshop.hooks.read() == {"previous": "None"}


def test_tampered_version_does_not_lend_its_consent(workshop: Workshop) -> None:
    """Otherwise a capsule could write a right into its manifest and have the upgrade keep it."""
    rights = '[capabilities]\nhost_process = ["sh"]\n'
    workshop.install(workshop.source())
    with (workshop.capsules / "notes" / "Capsule.toml").open("a") as file:
        file.write(rights)
    found = find_source(str(workshop.source(version="2.0.0", manifest=rights)), cwd=workshop.root)
    with stage(workshop.home, found, tools=workshop.tools()) as staged:
        assert staged.previous is None
        assert [request.value for request in staged.consent.added] == ["sh"]


def test_hooks_write_to_the_real_namespace(workshop: Workshop) -> None:
    workshop.install(
        workshop.source(component={"install": {"made-by": "1.0.0", "old": "x"}}, manifest=ENV),
        {"name": "Ada"},
    )
    assert workshop.hooks.read() == {"made-by": "1.0.0", "old": "x"}
    workshop.install(workshop.source(version="2.0.0", component={"upgrade": "copy"}, manifest=ENV))
    assert workshop.hooks.read() == {
        "made-by": "1.0.0",
        "old": "x",
        "previous": "1.0.0",
        "name": "Ada",
    }


def test_hook_of_the_other_phase_does_not_run(workshop: Workshop) -> None:
    workshop.install(workshop.source(component={"upgrade": "trap"}))
    workshop.install(workshop.source(version="1.1.0", component={"install": "trap", "x": 1}))
    assert workshop.hooks.read() == {}


FAILURES: dict[str, tuple[dict[str, Any], type[AstridError], str]] = {
    "hook-traps": ({"component": {"upgrade": "trap", "install": "trap"}}, GuestTrapError, ""),
    "not-a-component": ({"component": b"\0asm"}, ComponentError, ""),
    "unfit": ({"component": {"unfit": True}}, ComponentError, ""),
    "no-component": ({"manifest": '[[component]]\nfile = "x.wasm"\n'}, CapsuleError, "file"),
    "not-wasm": (
        {"manifest": '[[component]]\nfile = "Capsule.toml"\n'},
        CapsuleError,
        "file",
    ),
    "wrong-hash": (
        {
            "manifest": f'[[component]]\nfile = "x.wasm"\nhash = "{"a" * 64}"\n',
            "files": {"x.wasm": "{}"},
        },
        IntegrityError,
        "integrity.component",
    ),
    "bad-topic": (
        {"manifest": '[[topic]]\nname = "a.b"\ndirection = "publish"\nschema = "s.json"\n'},
        CapsuleError,
        "file",
    ),
    "bad-schema": (
        {
            "manifest": '[[topic]]\nname = "a.b"\ndirection = "publish"\nschema = "s.json"\n',
            "files": {"s.json": "{"},
        },
        CapsuleError,
        "topic",
    ),
    "bad-tools": ({"files": {"tools.json": "[]"}}, CapsuleError, "tools"),
    "unrouted-tool": ({"files": {"tools.json": '{"tools":[{"name":"x"}]}'}}, CapsuleError, "tools"),
    "large-wit": ({"files": {"wit/a.wit": "/" * (1024 * 1024 + 1)}}, CapsuleError, "file"),
    "bad-manifest": ({"manifest": "[unknown]\nx = 1\n"}, ManifestError, "manifest"),
    "bad-name": ({"name": "Not_A_Name"}, ManifestError, "manifest"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("upgrade", [False, True], ids=["install", "upgrade"])
def test_failure_changes_nothing(workshop: Workshop, case: str, upgrade: bool) -> None:
    """Vector 125, T-27, C-29: whatever fails, the previous version is there as it was."""
    fields, error, code = FAILURES[case]
    if upgrade:
        workshop.install(
            workshop.source(component={"install": {"k": "old"}}, manifest=ENV),
            {"name": "Ada", "token": "secret-1"},
        )
    before = (
        snapshot(workshop.home.path / "home"),
        dict(workshop.secrets.values),
        workshop.hooks.read(),
    )
    source = workshop.source(**{"version": "2.0.0", **fields})
    with pytest.raises(error) as caught:
        workshop.install(source)
    assert code in caught.value.code
    after = snapshot(workshop.home.path / "home"), workshop.secrets.values, workshop.hooks.read()
    assert after == before
    assert workshop.leftovers() == []
    if upgrade:
        assert load_installed(workshop.home, "notes").meta.version == "1.0.0"


class FailingHooks:
    """Runs the hook, then cannot store what it wrote."""

    def __init__(self, inner: Any) -> None:
        self.check = inner.check
        self.run = inner.run
        self.stored = inner.stored

    def apply(self, writes: object) -> None:
        raise StoreError(f"the disk is too full for {writes!r}")


def test_failing_store_after_the_swap_restores_everything(workshop: Workshop) -> None:
    source = workshop.source(component={"install": {"k": "1"}}, manifest=ENV)
    workshop.install(source, {"token": "one", "name": "Ada"})
    before = snapshot(workshop.capsules), dict(workshop.secrets.values)
    with pytest.raises(StoreError):
        workshop.install(
            workshop.source(version="2.0.0", component={"upgrade": {"k": "2"}}, manifest=ENV),
            {"token": "two", "name": "Bob"},
            lifecycle=FailingHooks(workshop.hooks),
        )
    assert (snapshot(workshop.capsules), workshop.secrets.values) == before
    assert workshop.hooks.read() == {"k": "1"}
    env = workshop.home.path / "home/default/.config/env/notes.env.json"
    assert json.loads(env.read_text()) == {"name": "Ada"}
    assert workshop.leftovers() == []


def full_disk(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_settings_that_cannot_be_kept_take_back_what_the_hook_wrote(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.install(
        workshop.source(component={"install": {"k": "1"}}, manifest=ENV),
        {"token": "one", "name": "Ada"},
    )
    before = snapshot(workshop.capsules), dict(workshop.secrets.values)
    upgrade = workshop.source(
        version="2.0.0", component={"upgrade": {"k": "2", "new": "3"}}, manifest=ENV
    )
    monkeypatch.setattr(journal, "add_settings", full_disk)
    with pytest.raises(OSError, match="No space left"):
        workshop.install(upgrade, {"token": "two", "name": "Bob"})
    assert (snapshot(workshop.capsules), workshop.secrets.values) == before
    assert workshop.hooks.read() == {"k": "1"}


def test_settings_of_a_first_install_that_cannot_be_kept_leave_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "add_settings", full_disk)
    source = workshop.source(component={"install": {"k": "v"}}, manifest=ENV)
    with pytest.raises(OSError, match="No space left"):
        workshop.install(source, {"token": "t", "name": "n"})
    assert list(workshop.capsules.iterdir()) == []
    assert workshop.hooks.read() == {}


def test_failing_store_on_a_first_install_leaves_nothing(workshop: Workshop) -> None:
    with pytest.raises(StoreError):
        workshop.install(
            workshop.source(component={"install": {"k": "2"}}),
            lifecycle=FailingHooks(workshop.hooks),
        )
    assert list(workshop.capsules.iterdir()) == []


@pytest.mark.parametrize(
    "step", ["manifest", "content", "hook", "secrets", "journal", "swap", "apply"]
)
def test_interrupt_leaves_nothing_behind(workshop: Workshop, step: str) -> None:
    def interrupt(now: str) -> None:
        if now == step:
            raise KeyboardInterrupt

    source = workshop.source(component={"install": {"k": "v"}}, manifest=ENV)
    with pytest.raises(KeyboardInterrupt):
        workshop.install(source, {"token": "t", "name": "n"}, on_step=interrupt)
    assert list(workshop.capsules.iterdir()) == []
    assert workshop.leftovers() == []
    assert workshop.secrets.values == {}
    assert workshop.hooks.read() == {}


def test_hook_without_a_kernel_refused(workshop: Workshop) -> None:
    with pytest.raises(CapsuleError, match="no kernel") as caught:
        workshop.install(workshop.source(component={"install": {}}), lifecycle=None)
    assert caught.value.code == "capsule.lifecycle"


def test_no_engine_is_said_only_where_one_is_needed(workshop: Workshop) -> None:
    def missing() -> Any:
        raise PluginLoadError("no engine is installed")

    workshop.install(workshop.source(name="static"), engine=missing)
    with pytest.raises(PluginLoadError):
        workshop.install(workshop.source(component={}), engine=missing)


def test_announced_hash_is_accepted_when_right(workshop: Workshop) -> None:
    digest = blake3(b"{}").hexdigest()
    manifest = f'[[component]]\nfile = "x.wasm"\nhash = "blake3:{digest.upper()}"\n'
    workshop.install(workshop.source(manifest=manifest, files={"x.wasm": "{}"}))


def test_what_is_wrong_inside_an_archive_names_the_archive(workshop: Workshop) -> None:
    missing = workshop.source(manifest='[[component]]\nfile = "x.wasm"\n')
    refused = workshop.source(name="other", component=b"no json")
    for source, code in ((missing, "capsule.file"), (refused, None)):
        with pytest.raises((CapsuleError, ComponentError)) as caught:
            workshop.install(workshop.pack(source))
        assert caught.value.message.startswith(f"{source.name}.capsule: ")
        assert code in (None, caught.value.code)
        with pytest.raises((CapsuleError, ComponentError)) as seen:
            workshop.install(source)
        assert ".capsule" not in seen.value.message


def test_damaged_blob_in_the_content_store_is_replaced(workshop: Workshop) -> None:
    digest = blake3(b"{}").hexdigest()
    path = workshop.home.component(digest)
    path.write_bytes(b"evil")
    workshop.install(workshop.source(component={}))
    assert path.read_bytes() == b"{}"


def test_answers_go_where_they_belong(workshop: Workshop) -> None:
    source = workshop.source(manifest=ENV)
    workshop.install(source, {"name": "Ada", "token": "s3cret", "hosts": '["x", "y"]'})
    env = workshop.home.path / "home/default/.config/env/notes.env.json"
    assert json.loads(env.read_text()) == {"name": "Ada", "hosts": '["x", "y"]'}
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert workshop.secrets.values == {("default/notes", "token"): b"s3cret"}
    texts = [p.read_bytes() for p in workshop.home.path.rglob("*") if p.is_file()]
    assert not any(b"s3cret" in text for text in texts)
    with stage(
        workshop.home, find_source(str(source), cwd=workshop.root), tools=workshop.tools()
    ) as staged:
        assert staged.answers({}).missing == ()


def test_missing_answers_are_all_named(workshop: Workshop) -> None:
    found = find_source(str(workshop.source(manifest=ENV)), cwd=workshop.root)
    with stage(workshop.home, found, tools=workshop.tools()) as staged:
        assert [question.key for question in staged.answers({}).missing] == [
            "name",
            "token",
            "hosts",
        ]
        assert [q.key for q in staged.answers({"name": "", "token": "t"}).missing] == [
            "name",
            "hosts",
        ]
    assert list(workshop.capsules.iterdir()) == []


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "slow"},
        {"hosts": "x,y"},
        {"hosts": "[1]"},
        {"hosts": "{}"},
        {"other": "x"},
        {"name": "x" * 70_000},
        {"name": "\udc80"},
    ],
    ids=str,
)
def test_wrong_answers_refused(workshop: Workshop, given: dict[str, str]) -> None:
    with pytest.raises(CapsuleError) as caught:
        workshop.install(workshop.source(manifest=ENV), given)
    assert caught.value.code == "capsule.answer"
    assert workshop.leftovers() == []


def test_secrets_without_a_store_refused(workshop: Workshop) -> None:
    with pytest.raises(SecretError):
        workshop.install(workshop.source(manifest=ENV), {"token": "t"}, secrets=None)
    assert list(workshop.capsules.iterdir()) == []


def test_leftover_answers_never_replace_newer_ones(workshop: Workshop) -> None:
    """C-14; and secrets that an old version kept in plain text are not carried along."""
    workshop.install(workshop.source(manifest=ENV), {"name": "new"})
    leftover = {"name": "old", "hosts": '["a"]', "token": "plain", "unknown": "x"}
    (workshop.capsules / "notes" / ".env.json").write_text(json.dumps(leftover))
    workshop.install(workshop.source(version="1.1.0", manifest=ENV))
    env = workshop.home.path / "home/default/.config/env/notes.env.json"
    assert json.loads(env.read_text()) == {"name": "new", "hosts": '["a"]'}


def test_builders_tool_list_is_recorded(workshop: Workshop) -> None:
    tools = {"tools": [{"name": "note_save", "description": "Save", "input_schema": {"a": 1}}]}
    result = workshop.install(
        workshop.source(manifest=TOOL, files={"tools.json": json.dumps(tools)})
    )
    save, find = result.capsule.meta.tools
    assert (save.description, save.input_schema) == ("Save", {"a": 1})
    assert (find.description, find.input_schema) == ("Find notes", None)


def test_schema_files_are_baked(workshop: Workshop) -> None:
    manifest = (
        '[[topic]]\nname = "a.b"\ndirection = "publish"\nschema = "s/x.json"\n'
        '[[topic]]\nname = "a.c"\ndirection = "subscribe"\ndescription = "plain"\n'
    )
    result = workshop.install(
        workshop.source(manifest=manifest, files={"s/x.json": '{"type": "object"}'})
    )
    baked, plain = result.capsule.meta.topics
    assert baked.schema == {"type": "object"}
    assert (plain.schema, plain.description, plain.direction) == (None, "plain", "subscribe")


WIT = """package notes:types@1.0.0;
interface types {
  /// A note was stored.
  record note-saved { note-id: string, tags: option<list<string>> }
}
"""
WIT_TOPIC = '[[topic]]\nname = "a.b"\ndirection = "publish"\nwit_type = "note-saved"\n'


def test_wit_records_are_baked(workshop: Workshop) -> None:
    result = workshop.install(workshop.source(manifest=WIT_TOPIC, files={"wit/notes.wit": WIT}))
    (topic,) = result.capsule.meta.topics
    assert topic.schema["properties"]["note_id"] == {"type": "string"}
    assert topic.schema["required"] == ["note_id"]
    assert topic.schema["description"] == "A note was stored."


@pytest.mark.parametrize(
    "files", [{}, {"wit/a.wit": "package a:b;"}, {"wit/a.wit": "no wit"}], ids=str
)
def test_unknown_record_refused(workshop: Workshop, files: dict[str, str]) -> None:
    with pytest.raises(CapsuleError) as caught:
        workshop.install(workshop.source(manifest=WIT_TOPIC, files=files))
    assert caught.value.code == "capsule.topic"
    assert workshop.leftovers() == []


def test_workspace_install(workshop: Workshop) -> None:
    workspace = workshop.root / "project"
    workspace.mkdir()
    place = workspace_place(workspace)
    result = workshop.install(workshop.source(), place=place)
    assert result.capsule.directory == workspace / ".astrid" / "capsules" / "notes"
    assert result.capsule.scope == "workspace"
    assert load_installed(workshop.home, "notes", workspace=workspace) == result.capsule


@pytest.mark.parametrize("link", [".astrid", ".astrid/capsules"])
def test_workspace_that_points_elsewhere_refused(workshop: Workshop, link: str) -> None:
    workspace, outside = workshop.root / "project", workshop.root / "outside"
    (workspace / link).parent.mkdir(parents=True)
    (outside / "capsules").mkdir(parents=True)
    (workspace / link).symlink_to(outside, target_is_directory=True)
    with pytest.raises(ConfigError, match="symbolic link"):
        workshop.install(workshop.source(), place=workspace_place(workspace))
    assert list((outside / "capsules").iterdir()) == []


def test_sources_links_stay_inside(workshop: Workshop) -> None:
    source = workshop.source(files={"docs/a.md": "a"})
    (source / "alias.md").symlink_to("docs/a.md")
    (source / "more").symlink_to("docs", target_is_directory=True)
    (source / "docs" / "up").symlink_to("..", target_is_directory=True)
    workshop.install(source)
    target = workshop.capsules / "notes"
    assert (target / "alias.md").read_text() == (target / "more" / "a.md").read_text() == "a"
    assert not (target / "alias.md").is_symlink()
    assert not (target / "docs" / "up").exists()


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_source_with_what_is_no_file_refused_unopened(workshop: Workshop, kind: str) -> None:
    source = workshop.source()
    if kind == "fifo":
        os.mkfifo(source / "x")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(source / "x"))
    with pytest.raises(ArchiveError, match="'x'") as caught:
        workshop.install(source)
    assert caught.value.code == "capsule.archive.kind"


@pytest.mark.parametrize("kind", ["file", "directory", "dangling", "itself"])
def test_source_that_reaches_outside_refused(workshop: Workshop, kind: str) -> None:
    source = workshop.source()
    secret = workshop.root / "id_ed25519"
    secret.write_text("private key")
    targets = {"file": secret, "directory": workshop.root, "dangling": source / "nothing"}
    targets["itself"] = source / "x"
    (source / "x").symlink_to(targets[kind])
    with pytest.raises(ArchiveError, match="'x'") as caught:
        workshop.install(source)
    assert caught.value.code == "capsule.archive.link-escape"
    assert list(workshop.capsules.iterdir()) == []
    with pytest.raises(ArchiveError, match="'x'"):
        workshop.pack(source)
    assert [p.name for p in source.parent.iterdir()] == [source.name]


def test_the_home_itself_is_no_source(workshop: Workshop) -> None:
    (workshop.root / "Capsule.toml").write_text('[package]\nname = "x"\nversion = "1.0.0"\n')
    with pytest.raises(CapsuleError, match="runtime home"):
        workshop.install(workshop.root)


def test_packing_is_reproducible(workshop: Workshop) -> None:
    files = {"a.md": "a", "b/c.md": "c", "naïve.md": "n", "x/" + "long" * 40 + ".md": "l"}
    source = workshop.source(component={}, files=files)
    first = workshop.pack(source).read_bytes()
    for path in source.rglob("*"):
        os.utime(path, (1, 1))
    (source / "a.md").chmod(0o600)
    assert workshop.pack(source).read_bytes() == first
    result = workshop.install(workshop.pack(source))
    assert {name: (result.capsule.directory / name).read_text() for name in files} == files
