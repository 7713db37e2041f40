"""Manifests. Spec: capsules-and-bus 1 and vectors 22 to 60, each id is the vector's number."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.domain.manifest import (
    Capabilities,
    EnvField,
    Export,
    Import,
    Manifest,
    parse_manifest,
)
from astrid_core.domain.semver import Requirement, Version
from astrid_core.domain.topic import matches_acl
from astrid_hookspecs.engines import InterceptorBinding
from astrid_hookspecs.errors import ManifestError

COMPLETE = (Path(__file__).parent / "data" / "complete.Capsule.toml").read_text("utf-8")
HDR = '[package]\nname = "t"\nversion = "0.1.0"\n'
GRANT = '[subscribe]\n"a.b" = {wit = "r", handler = "h", priority = 5}\n'


def read(body: str) -> Manifest:
    return parse_manifest(HDR + body)


def refusal(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, path="x/Capsule.toml")
    assert caught.value.path == "x/Capsule.toml"
    return caught.value


def test_vector_22_bare_manifest_denies_everything():
    found = read("")
    assert found.component is None
    assert found.mcp_servers == ()
    assert found.effective_publish_acl == ()
    assert found.effective_subscribe_acl == ()
    assert found.interceptors == ()
    assert found.capabilities == Capabilities()
    assert not found.is_daemon
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "rule", "key", "line"),
    [
        *(
            pytest.param(
                f'[package]\nname = "t"\nversion = "{version}"\n',
                "E-VERSION",
                "package.version",
                3,
                id=f"23-{version}",
            )
            for version in ("1.0", "v1.0.0", "01.0.0")
        ),
        pytest.param(
            HDR + 'astrid-version = ">=0.8"', "E-RT", "package.astrid-version", 4, id="25"
        ),
        pytest.param(
            HDR + 'astrid-version = "soon"', "E-RT-REQ", "package.astrid-version", 4, id="27"
        ),
        *(
            pytest.param(
                f'{HDR}[capabilities]\nipc_publish = ["ok", "{topic}"]',
                "E-SEG",
                "capabilities.ipc_publish[1]",
                5,
                id=f"28-{topic}",
            )
            for topic in ("a..b", "", ".a")
        ),
        pytest.param(
            f'{HDR}[[interceptor]]\nevent = "a."\naction = "x"',
            "E-SEG",
            "interceptor[0].event",
            5,
            id="30",
        ),
        pytest.param(
            f'{HDR}[imports]\n":x" = "1"', "E-IFACE-EMPTY", 'imports.":x"', 5, id="33-namespace"
        ),
        pytest.param(
            f'{HDR}[imports]\n"acme:" = "1"', "E-IFACE-EMPTY", 'imports."acme:"', 5, id="33-name"
        ),
        pytest.param(f'{HDR}[imports]\nacme = "1"', "E-IFACE-TABLE", "imports.acme", 5, id="34"),
        pytest.param(
            f'{HDR}[imports.Acme]\nx = "1"', "E-NS", "imports.Acme.x", 5, id="35-namespace"
        ),
        pytest.param(
            f'{HDR}[imports.acme]\nx_y = "1"', "E-IFACE", "imports.acme.x_y", 5, id="35-name"
        ),
        pytest.param(
            f'{HDR}[imports.acme]\nx = "not-a-req"', "E-SEMVER-REQ", "imports.acme.x", 5, id="36"
        ),
        *(
            pytest.param(
                f'{HDR}[exports.acme]\nx = "{version}"',
                "E-SEMVER-VER",
                "exports.acme.x",
                5,
                id=f"37-{version}",
            )
            for version in ("^1.0", "1.0")
        ),
        pytest.param(f"{HDR}[exports.acme]\nx = 1", "E-IFACE-SHAPE", "exports.acme.x", 5, id="38"),
        pytest.param(
            f'{HDR}[capabilities]\nuplink = true\n[imports.acme]\nx = "1"',
            "E-UPLINK-IMPORTS",
            "imports",
            6,
            id="39",
        ),
        pytest.param(
            f'{HDR}[publish]\n"a.b" = {{wit = "r", tag = "t", rev = "x"}}',
            "E-PIN",
            'publish."a.b".rev',
            5,
            id="41",
        ),
        pytest.param(
            f'{HDR}[publish]\n"a.b" = {{tag = "t"}}', "E-TOML", 'publish."a.b".wit', 5, id="42"
        ),
        pytest.param(
            f'{HDR}[[topic]]\nname = "*"\ndirection = "publish"',
            "E-TOPIC-BROAD",
            "topic[0].name",
            5,
            id="47",
        ),
        *(
            pytest.param(
                f'{HDR}[[topic]]\nname = "{name}"\ndirection = "publish"',
                rule,
                "topic[0].name",
                5,
                id=f"{vector}-{name}",
            )
            for vector, name, rule in [
                (48, "a.*.b", "E-TOPIC-WILD"),
                (48, "*.a", "E-TOPIC-WILD"),
                (48, "a*", "E-TOPIC-WILD"),
                (48, "*.*", "E-TOPIC-WILD"),
                (50, "a b", "E-TOPIC-CHARS"),
                (50, "a/b", "E-TOPIC-CHARS"),
                (51, "a..b", "E-SEG"),
                (51, "", "E-SEG"),
            ]
        ),
        *(
            pytest.param(
                f'{HDR}[[topic]]\nname = "a"\ndirection = "publish"\nschema = "{schema}"',
                rule,
                "topic[0].schema",
                7,
                id=f"52-{schema}",
            )
            for schema, rule in [
                ("/x.json", "E-SCHEMA-ABS"),
                ("../x.json", "E-SCHEMA-PARENT"),
                ("s/../../x.json", "E-SCHEMA-PARENT"),
            ]
        ),
        pytest.param(
            HDR + '[[topic]]\nname = "a"\ndirection = "publish"\n' * 2,
            "E-TOPIC-DUP",
            "topic[1]",
            7,
            id="53-twice",
        ),
        pytest.param(
            f'{HDR}[[topic]]\nname = "a"\ndirection = "both"',
            "E-TOML",
            "topic[0].direction",
            6,
            id="54-direction",
        ),
        pytest.param(
            f'{HDR}[[uplink]]\nname = "u"\nplatform = "p"\nprofile = "Chat"',
            "E-TOML",
            "uplink[0].profile",
            7,
            id="54-profile",
        ),
        pytest.param(f'{HDR}[component]\nfile = "x.wasm"', "E-TOML", "component", 4, id="55"),
        pytest.param(
            '[package]\nname = "My_Capsule"\nversion = "0.1.0"', "E-ID", "package.name", 2, id="59"
        ),
        pytest.param(f"{HDR}[env.K]\n", "E-TOML", "env.K.type", 4, id="60"),
    ],
)
def test_refused(text: str, rule: str, key: str, line: int):
    error = refusal(text)
    assert (error.rule, error.key, error.line) == (rule, key, line)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[package]\nname = "t"\nversion = "1.0.0-rc.1+b5"', id="24"),
        pytest.param(HDR + 'astrid-version = "^0.7"', id="26-caret"),
        pytest.param(HDR + 'astrid-version = "*"', id="26-any"),
        pytest.param(HDR + "[capabilities]\nuplink = true\n[imports.acme]\n", id="40"),
        pytest.param(HDR + '[[topic]]\nname = "a.b.*"\ndirection = "publish"', id="49"),
        pytest.param(
            HDR + '[[topic]]\nname = "a"\ndirection = "publish"\nschema = "s/x.json"', id="52"
        ),
        pytest.param(
            HDR
            + '[[topic]]\nname = "a"\ndirection = "publish"\n'
            + '[[topic]]\nname = "a"\ndirection = "subscribe"\n',
            id="53",
        ),
    ],
)
def test_accepted(text: str):
    assert parse_manifest(text).warnings == ()


def test_vector_24_version_is_kept():
    found = parse_manifest('[package]\nname = "t"\nversion = "1.0.0-rc.1+b5"')
    assert found.package.version == Version(1, 0, 0, "rc.1", "b5")


def test_vector_25_runtime_version_is_a_parameter():
    text = HDR + 'astrid-version = ">=0.8"'
    assert parse_manifest(text, runtime_version="0.9.0").package.astrid_version == (
        Requirement.parse(">=0.8")
    )


def test_vector_29_subscribe_entry_that_never_matches_is_remarked_upon():
    found = read('[capabilities]\nipc_subscribe = ["a..b"]')
    assert found.effective_subscribe_acl == ("a..b",)
    assert not matches_acl("a..b", "a..b")
    assert [(w.rule, w.key, w.line) for w in found.warnings] == [
        ("W-SEG", "capabilities.ipc_subscribe[0]", 5)
    ]


@pytest.mark.parametrize("table", ["publish", "subscribe"])
def test_vector_31_access_list_key_with_empty_segment(table: str):
    # Accepted in 0.7.0, where it silently never matches; we refuse it [C-20] ...
    text = f'{HDR}[{table}]\n"a..b" = "opaque"'
    error = refusal(text)
    assert (error.rule, error.key, error.line) == ("E-SEG", f'{table}."a..b"', 5)
    # ... unless the capsule is already installed.
    found = parse_manifest(text, unknown="warn")
    assert [(w.rule, w.key, w.line) for w in found.warnings] == [("E-SEG", f'{table}."a..b"', 5)]


def test_vector_32_both_spellings_of_imports():
    found = read('[imports]\n"acme:x" = "^1"\n[imports.acme]\ny = "2"')
    assert found.imports == (
        Import("acme", "x", Requirement.parse("^1")),
        Import("acme", "y", Requirement.parse("^2")),
    )
    assert [i.name for i in found.imports] == ["acme:x", "acme:y"]


def test_vector_43_subscribe_priority_is_honoured():
    # 0.7.0 binds with priority 100 whatever the key says; we do what the manifest says.
    assert read(GRANT).interceptors == (InterceptorBinding("a.b", "h", 5),)


def test_vector_44_legacy_entry_for_the_same_event_is_dropped():
    found = read(GRANT + '[[interceptor]]\nevent = "a.b"\naction = "old"\npriority = 1')
    assert found.interceptors == (InterceptorBinding("a.b", "h", 5),)


def test_vector_45_legacy_pattern_is_a_binding_of_its_own():
    found = read(GRANT + '[[interceptor]]\nevent = "a.*"\naction = "w"\npriority = 1')
    assert found.interceptors == (
        InterceptorBinding("a.b", "h", 5),
        InterceptorBinding("a.*", "w", 1),
    )
    ordered = sorted(found.interceptors, key=lambda binding: binding.priority)
    assert [b.action for b in ordered if matches_acl("a.b", b.topic)] == ["w", "h"]


def test_vector_46_new_table_replaces_the_legacy_list():
    found = read('[publish]\n"a.b" = "r"\n[capabilities]\nipc_publish = ["c.d"]')
    assert found.effective_publish_acl == ("a.b",)
    assert [(w.rule, w.key) for w in found.warnings] == [("W-LEGACY", "capabilities.ipc_publish")]


def test_legacy_lists_count_without_the_new_tables():
    found = read('[capabilities]\nipc_publish = ["c.d"]\nipc_subscribe = ["e.*"]')
    assert found.effective_publish_acl == ("c.d",)
    assert found.effective_subscribe_acl == ("e.*",)
    assert found.warnings == ()


def test_vector_56_entrypoint_is_the_file():
    found = read('[[component]]\nentrypoint = "x.wasm"').component
    assert found is not None
    assert found.file == "x.wasm"


def test_vector_57_component_lists_are_merged_and_the_first_component_runs():
    found = read(
        '[[component]]\nfile = "a.wasm"\n'
        '[[component]]\nfile = "b.wasm"\n'
        'capabilities = {fs_read = ["cwd://a"], kv = ["k"]}\n'
        '[capabilities]\nfs_read = ["cwd://root"]\n'
    )
    assert found.component is not None
    assert found.component.file == "a.wasm"
    assert found.capabilities.fs_read == ("cwd://root", "cwd://a")
    # 0.7.0 loses `kv` and every list but five; we merge all of them [C-21].
    assert found.capabilities.kv == ("k",)
    assert [(w.rule, w.key, w.line) for w in found.warnings] == [
        ("W-MERGED", "component[1].capabilities.fs_read", 8),
        ("W-MERGED", "component[1].capabilities.kv", 8),
    ]


@pytest.mark.parametrize(("table", "line"), [("unknown", 4), ("dependencies", 4)])
def test_vector_58_unknown_table(table: str, line: int):
    # Ignored in silence in 0.7.0; we refuse it, unless the capsule is already installed.
    text = f'{HDR}[{table}]\nx = "1"\n'
    error = refusal(text)
    assert (error.rule, error.key, error.line) == ("E-UNKNOWN", table, line)
    found = parse_manifest(text, unknown="warn")
    assert [(w.rule, w.key, w.line) for w in found.warnings] == [("E-UNKNOWN", table, line)]


def test_complete_example():
    found = parse_manifest(COMPLETE)
    assert found.name == "note-keeper"
    assert found.package.metadata == {"team": {"owner": "docs"}}
    assert found.package.include == ("skills/**",)
    assert found.package.publish is False
    assert found.package.license_file == "LICENSE"
    assert found.effective_publish_acl == (
        "tool.v1.execute.*.result",
        "notes.v1.saved",
        "hook.v1.response.*.*",
    )
    assert found.effective_subscribe_acl == (
        "tool.v1.execute.note_save",
        "tool.v1.execute.note_find",
        "tool.v1.request.describe",
        "astrid.v1.lifecycle.session_created",
        "notes.v1.reindex",
    )
    assert found.interceptors == (
        InterceptorBinding("tool.v1.execute.note_save", "tool_execute_note_save"),
        InterceptorBinding("tool.v1.execute.note_find", "tool_execute_note_find"),
        InterceptorBinding("tool.v1.request.describe", "tool_describe"),
        InterceptorBinding("astrid.v1.lifecycle.session_created", "on_session"),
        InterceptorBinding("notes.v1.audit", "on_audit", 20),
    )
    assert found.imports == (
        Import("acme", "embed", Requirement.parse("^0.3"), optional=True),
        Import("astrid", "session", Requirement.parse("1")),
    )
    assert found.exports == (Export("acme", "notes", Version(1, 4, 0)),)
    assert found.capabilities.net == ("index.example.org",)
    assert found.capabilities.fs_read == ("home://notes",)
    assert found.env[2] == EnvField(
        "NOTES_LIMIT", "text", "Please enter value for NOTES_LIMIT", default="25"
    )
    assert found.tool_names == ("note_save", "note_find")
    assert found.secret_keys == ("NOTES_TOKEN",)
    assert not found.is_daemon
    assert (found.state, found.run_class) == ("shared", "auto")
    assert {w.rule for w in found.warnings} == {"W-MERGED"}
    assert hash(found) == hash(parse_manifest(COMPLETE.encode()))


def test_complete_example_as_uplink():
    flagged = COMPLETE.replace("[capabilities]\n", "[capabilities]\nuplink = true\n", 1)
    assert refusal(flagged).rule == "E-UPLINK-IMPORTS"
    table = '\n[[uplink]]\nname = "u"\nplatform = " Chat "\nprofile = "chat"\n'
    found = parse_manifest(COMPLETE + table)
    assert found.is_daemon
    assert not found.is_uplink
    assert found.uplinks[0].platform == "chat"


def test_uplink_capability_makes_a_daemon():
    found = read("[capabilities]\nuplink = true")
    assert found.is_daemon
    assert found.is_uplink
