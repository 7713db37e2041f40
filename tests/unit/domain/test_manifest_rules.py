"""What we refuse or accept beyond the reference vectors: types, unknown keys, paths, names."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.manifest import (
    Capabilities,
    Command,
    Manifest,
    Pin,
    parse_manifest,
)
from astrid_core.domain.manifest_model import CAPABILITY_FLAGS, CAPABILITY_LISTS
from astrid_core.domain.toml_document import MAX_BYTES, MAX_DEPTH, MAX_WARNINGS
from astrid_hookspecs.errors import ManifestError

HDR = '[package]\nname = "t"\nversion = "0.1.0"\n'
HASH = "aB" * 32


def read(body: str, **options: Any) -> Manifest:
    return parse_manifest(HDR + body, **options)


def refusal(text: str | bytes) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text)
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("body", "key", "hint"),
    [
        ('[publsh]\n"a.b" = "r"', "publsh", "did you mean 'publish'?"),
        ("zzz = 1", "package.zzz", None),
        ("[capabilities]\nfs_wirte = []", "capabilities.fs_wirte", "did you mean 'fs_write'?"),
        ("[[component]]\nFILE = 'x'", "component[0].FILE", "did you mean 'file'?"),
        (
            "[[component]]\nfile = 'x'\ncapabilities = {nett = []}",
            "component[0].capabilities.nett",
            "did you mean 'net'?",
        ),
        ("[publish]\n'a.b' = {wit = 'r', handler = 'h'}", 'publish."a.b".handler', None),
        (
            "[subscribe]\n'a.b' = {wit = 'r', handlr = 'h'}",
            'subscribe."a.b".handlr',
            "did you mean 'handler'?",
        ),
        (
            "[imports.acme]\nx = {version = '1', optinal = true}",
            "imports.acme.x.optinal",
            "did you mean 'optional'?",
        ),
        (
            "[exports.acme]\nx = {version = '1.0.0', optional = true}",
            "exports.acme.x.optional",
            None,
        ),
        ("[env.K]\ntype = 'text'\ndefalt = 1", "env.K.defalt", "did you mean 'default'?"),
        ("[[mcp_server]]\nid = 'x'\narg = []", "mcp_server[0].arg", "did you mean 'args'?"),
        ("[[uplink]]\nx = 1", "uplink[0].x", None),
        ("[[command]]\nnmae = 'x'", "command[0].nmae", "did you mean 'name'?"),
        ("[[context_file]]\npath = 'x'", "context_file[0].path", None),
        ("[[skill]]\nx = 1", "skill[0].x", None),
        (
            "[[tool]]\ndescription = 'x'",
            "tool[0].description",
            "did you mean 'description_for_llm'?",
        ),
        ("[[interceptor]]\ntopic = 'x'", "interceptor[0].topic", None),
        ("[[topic]]\nx = 1", "topic[0].x", None),
        ("[capsule]\nclas = 'run'", "capsule.clas", "did you mean 'class'?"),
    ],
)
def test_unknown_key_denied_and_in_compatibility_mode_remarked_upon(
    body: str, key: str, hint: str | None
):
    error = refusal(HDR + body)
    assert (error.rule, error.key) == ("E-UNKNOWN", key)
    assert error.hint == hint or error.hint.startswith("known here: ")
    assert error.line is not None
    try:
        warnings = read(body, unknown="warn").warnings
    except ManifestError as later:
        # Some entries are nothing without the key that was misspelt.
        assert later.rule == "E-TOML"  # noqa: PT017
    else:
        assert ("E-UNKNOWN", key, error.line) in [(w.rule, w.key, w.line) for w in warnings]


def test_metadata_is_free_form():
    found = read("[package.metadata]\nwhen = 1979-05-27\n[package.metadata.a.b]\nc = [1]")
    assert found.package.metadata["a"] == {"b": {"c": [1]}}
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("[capabilities]\nbind_workers = true", "capabilities.bind_workers"),
        ("[env.K]\ntype = 'text'\nscope = 'agent'", "env.K.scope"),
        ("[env.K]\ntype = 'text'\noptions_from = 'a.b'", "env.K.options_from"),
    ],
)
@pytest.mark.parametrize("unknown", ["deny", "warn"])
def test_keys_of_later_versions_are_accepted_with_a_remark(body: str, key: str, unknown: str):
    warnings = read(body, unknown=unknown).warnings
    assert [(w.rule, w.key) for w in warnings] == [("W-LATER", key)]
    assert warnings[0].line is not None


def test_remarks_are_bounded():
    body = "[env.K]\ntype = 'text'\n" + "".join(f"k{i} = 1\n" for i in range(MAX_WARNINGS + 50))
    warnings = read(body, unknown="warn").warnings
    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1].message == "50 further remarks"


def test_capabilities_of_every_kind_are_carried():
    lists = "".join(f"{name} = ['{name}.x:1']\n" for name in CAPABILITY_LISTS)
    flags = "".join(f"{name} = true\n" for name in CAPABILITY_FLAGS)
    found = read(f"[capabilities]\n{lists}{flags}").capabilities
    expected: dict[str, Any] = {name: (f"{name}.x:1",) for name in CAPABILITY_LISTS}
    assert found == Capabilities(**expected, **dict.fromkeys(CAPABILITY_FLAGS, True))


def test_every_list_of_a_component_is_merged_but_no_flag():
    lists = ", ".join(f"{name} = ['x.y']" for name in CAPABILITY_LISTS)
    flags = ", ".join(f"{name} = true" for name in CAPABILITY_FLAGS)
    found = read(f"[[component]]\nfile = 'x'\ncapabilities = {{{lists}, {flags}}}")
    expected: dict[str, Any] = dict.fromkeys(CAPABILITY_LISTS, ("x.y",))
    assert found.capabilities == Capabilities(**expected)
    assert [w.rule for w in found.warnings] == (
        ["W-MERGED"] * len(CAPABILITY_LISTS) + ["W-FLAG"] * len(CAPABILITY_FLAGS)
    )


def test_legacy_list_of_a_component_is_checked_too():
    body = "[[component]]\nfile = 'x'\n[component.capabilities]\nipc_publish = ['a..b']"
    error = refusal(HDR + body)
    assert (error.rule, error.key) == ("E-SEG", "component[0].capabilities.ipc_publish[0]")
    assert error.line == 7


@pytest.mark.parametrize(
    ("body", "key", "message"),
    [
        ("[capabilities]\nnet = 'x'", "capabilities.net", "expected an array, found a string"),
        ("[capabilities]\nnet = [1]", "capabilities.net[0]", "expected a string, found an integer"),
        ("[capabilities]\nuplink = 1", "capabilities.uplink", "expected a boolean, found an int"),
        ("[[capabilities]]", "capabilities", "expected a table, found an array"),
        ("description = 1.5", "package.description", "expected a string, found a float"),
        ("readme = 2020-01-01", "package.readme", "found a date or time"),
        ("metadata = 1", "package.metadata", "expected a table"),
        ("publish = 'no'", "package.publish", "expected a boolean"),
        ("authors = 'me'", "package.authors", "expected an array"),
        ("[env]\nK = 1", "env.K", "expected a table"),
        ("[publish]\n'a.b' = 1", 'publish."a.b"', "expected a record name or a table"),
        ("[subscribe]\n'a.b' = ['x']", 'subscribe."a.b"', "expected a record name or a table"),
        ("[subscribe]\n'a.b' = {}", 'subscribe."a.b".wit', "has no 'wit'"),
        ("[[component]]\nid = 'x'", "component[0].file", "has no 'file'"),
        (
            "[[component]]\nfile = 'x'\nentrypoint = 'y'",
            "component[0].entrypoint",
            "'file' is given twice",
        ),
        ("[[skill]]\nname = 'x'", "skill[0].file", "[skill[0]] has no 'file'"),
        ("[[command]]\nname = 'x'\nkind = 'slsh'", "command[0].kind", "not one of slash, cli"),
        ("[capsule]\nstate = 'none'", "capsule.state", "not one of shared, fresh"),
        ("[capsule]\nclass = 'runs'", "capsule.class", "not one of auto, call, run"),
        *(
            (
                f"[[interceptor]]\nevent = 'a'\naction = 'x'\npriority = {priority}",
                "interceptor[0].priority",
                reason,
            )
            for priority, reason in [
                (-1, "not between"),
                (4294967296, "not between"),
                ("true", "expected an integer, found a boolean"),
            ]
        ),
    ],
)
def test_wrong_type_denied(body: str, key: str, message: str):
    error = refusal(HDR + body)
    assert (error.rule, error.key) == ("E-TOML", key)
    assert message in error.message
    assert error.line is not None


def test_array_of_tables_holds_tables():
    error = refusal("skill = [1]\n" + HDR)
    assert (error.rule, error.key, error.line) == ("E-TOML", "skill[0]", 1)
    assert error.hint == "write [[skill]], with two brackets"


def test_missing_package():
    error = refusal("")
    assert (error.rule, error.key, error.line) == ("E-TOML", "package", None)
    assert error.hint == "add a [package] table"


@pytest.mark.parametrize("priority", [0, 4294967295])
def test_priority_bounds(priority: int):
    found = read(f"[subscribe]\n'a' = {{wit = 'r', handler = 'h', priority = {priority}}}")
    assert found.interceptors[0].priority == priority


@pytest.mark.parametrize(
    ("body", "place", "line"),
    [
        ("license-file = '{}'", "package.license-file", 4),
        ("readme = '{}'", "package.readme", 4),
        ("[[component]]\nfile = '{}'", "component[0].file", 5),
        ("[[context_file]]\nname = 'x'\nfile = '{}'", "context_file[0].file", 6),
        ("[[skill]]\nname = 'x'\nfile = '{}'", "skill[0].file", 6),
        ("[[command]]\nname = 'x'\nfile = '{}'", "command[0].file", 6),
    ],
)
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/etc/passwd", "E-PATH-ABS"),
        ("\\\\host\\share", "E-PATH-ABS"),
        ("C:x", "E-PATH-ABS"),
        ("../x", "E-PATH-PARENT"),
        ("a/../../x", "E-PATH-PARENT"),
        ("a\\..\\x", "E-PATH-PARENT"),
        ("..", "E-PATH-PARENT"),
        (" ", "E-PATH"),
    ],
)
def test_path_denied_when_it_leaves_the_capsule(
    body: str, place: str, line: int, path: str, rule: str
):
    error = refusal(HDR + body.format(path))
    assert (error.rule, error.key, error.line) == (rule, place, line)


def test_path_of_an_entrypoint_is_checked_too():
    error = refusal(HDR + "[[component]]\nentrypoint = '/x'")
    assert (error.rule, error.line) == ("E-PATH-ABS", 4)


@pytest.mark.parametrize("path", ["x", "a/b.wasm", "..x", "a/..b", "a./b", "./x"])
def test_path_accepted_inside_the_capsule(path: str):
    assert read(f"[[component]]\nfile = '{path}'").components[0].file == path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("../x", "'x'"),
        ("My Capsule", "'my-capsule'"),
        ("a/b", "'a-b'"),
        ("a.bak", "'a-bak'"),
        ("", "digits and hyphens"),
        ("ä", "digits and hyphens"),
        ("a" * 65, repr("a" * 64)),
        ("a\\n", "'a'"),
    ],
)
def test_capsule_name_denied_when_it_is_no_id(name: str, hint: str):
    error = refusal(f'[package]\nname = "{name}"\nversion = "0.1.0"')
    assert (error.rule, error.key, error.line) == ("E-ID", "package.name", 2)
    assert error.hint is not None
    assert error.hint.endswith(hint)


@pytest.mark.parametrize("name", ["-t", "t-", "-"])
def test_capsule_name_with_edge_hyphen_denied_when_there_is_an_uplink(name: str):
    header = f'[package]\nname = "{name}"\nversion = "0.1.0"\n'
    assert parse_manifest(header).name == name
    uplink = '[[uplink]]\nname = "u"\nplatform = "p"\nprofile = "bridge"\n'
    assert refusal(header + uplink).rule == "E-ID"
    assert read(uplink).uplinks[0].profile == "bridge"


@pytest.mark.parametrize("key", ["name", "platform"])
def test_uplink_denied_when_blank(key: str):
    body = {"name": "u", "platform": "p", "profile": "chat", key: "  "}
    lines = "".join(f'{name} = "{value}"\n' for name, value in body.items())
    error = refusal(f"{HDR}[[uplink]]\n{lines}")
    assert (error.rule, error.key) == ("E-UPLINK", f"uplink[0].{key}")


@pytest.mark.parametrize("key", ["../x", ".x", "", "a/b", "a:b", "a=b", "a b", "x" * 129, "ä"])
def test_env_key_denied_when_it_is_no_name(key: str):
    error = refusal(f"{HDR}[env.'{key}']\ntype = 'secret'")
    assert error.rule == "E-ENV-KEY"
    assert error.line == 4


@pytest.mark.parametrize("key", ["NOTES_TOKEN", "api-key", "a.b", "9x", "x" * 128])
def test_env_key_accepted(key: str):
    assert read(f"[env.'{key}']\ntype = 'secret'").secret_keys == (key,)


@pytest.mark.parametrize("text", [HASH, HASH.lower(), f"blake3:{HASH}"])
def test_hash_is_normalised(text: str):
    found = read(f"[[component]]\nfile = 'x'\nhash = '{text}'").component
    assert found is not None
    assert found.hash == HASH.lower()


@pytest.mark.parametrize("text", ["", "ab", f"sha256:{HASH}", HASH + "0", f"{HASH} ", "g" * 64])
def test_hash_denied_when_it_is_none(text: str):
    error = refusal(f"{HDR}[[component]]\nfile = 'x'\nhash = '{text}'")
    assert (error.rule, error.key, error.line) == ("E-HASH", "component[0].hash", 6)


@pytest.mark.parametrize(
    ("flat", "nested", "table"),
    [("'1'", "'2'", "imports"), ("'1.0.0'", "'2.0.0'", "exports")],
)
def test_interface_denied_when_declared_in_both_spellings(flat: str, nested: str, table: str):
    body = f"[{table}]\n'a:x' = {flat}\n[{table}.a]\nx = {nested}"
    error = refusal(HDR + body)
    assert (error.rule, error.key, error.line) == ("E-IFACE-DUP", f"{table}.a.x", 7)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("[imports.a]\nx = {optional = true}", "E-IFACE-SHAPE"),
        ("[imports.a]\nx = {version = 1}", "E-IFACE-SHAPE"),
        ("[imports.a]\nx = {version = '1', optional = 1}", "E-IFACE-SHAPE"),
        ("[imports.a]\nx = ['1']", "E-IFACE-SHAPE"),
        ("[exports.a]\nx = {}", "E-IFACE-SHAPE"),
        ("[imports]\n'a:b:c' = '1'", "E-IFACE"),
        ("[imports]\n'A:b' = '1'", "E-NS"),
        ("[imports.'']\nx = '1'", "E-NS"),
        ("[exports.a]\n'' = '1.0.0'", "E-IFACE"),
        ("[exports]\na = 1", "E-IFACE-TABLE"),
    ],
)
def test_interface_denied_when_malformed(body: str, rule: str):
    error = refusal(HDR + body)
    assert error.rule == rule
    assert error.line is not None


def test_interface_is_found_in_its_own_spelling():
    flat = refusal(HDR + "[imports]\n'a:x' = '1'\n'A:b' = '1'")
    assert (flat.key, flat.line) == ('imports."A:b"', 6)
    nested = refusal(HDR + "[imports]\n'a:x' = '1'\nA.b = '1'")
    assert (nested.key, nested.line) == ("imports.A.b", 6)


def test_interface_tables():
    found = read(
        "[imports.a]\nx = {version = '1'}\ny = {version = '1', optional = true}\n"
        "[exports]\n'a:z' = {version = '1.0.0'}"
    )
    assert [(i.name, i.optional) for i in found.imports] == [("a:x", False), ("a:y", True)]
    assert [e.name for e in found.exports] == ["a:z"]


def test_pins():
    found = read("[publish]\n'a' = {wit = 'r', branch = 'main', fanout = true}\n'b' = 'r'")
    assert [(g.pin, g.fanout) for g in found.publish] == [
        (Pin("branch", "main"), True),
        (None, False),
    ]


@pytest.mark.parametrize("name", ["Run", "9x", "", "a" * 33, "run", "help", "a_b"])
def test_cli_command_denied_when_the_name_is_taken_or_malformed(name: str):
    body = f"[[command]]\nname = '{name}'\nkind = 'cli'"
    error = refusal(HDR + body)
    assert (error.rule, error.key) == ("E-COMMAND", "command[0].name")


def test_commands():
    found = read("[[command]]\nname = 'notes'\nkind = 'cli'\n[[command]]\nname = '/run'")
    assert found.commands == (Command("notes", kind="cli"), Command("/run"))


def test_capsule_table():
    found = read("[capsule]\nstate = 'fresh'\nclass = 'call'")
    assert (found.state, found.run_class) == ("fresh", "call")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("'x'", "x"),
        ("25", "25"),
        ("true", "true"),
        ("1.5", "1.5"),
        ("['b', {z = 1, a = 'ä'}]", '["b",{"a":"ä","z":1}]'),
        ("1979-05-27T07:32:00Z", "1979-05-27T07:32:00+00:00"),
        ("[1979-05-27, 07:32:00]", '["1979-05-27","07:32:00"]'),
    ],
)
def test_default_in_text_form(value: str, expected: str):
    assert read(f"[env.K]\ntype = 'text'\ndefault = {value}").env[0].default == expected


def test_request_text():
    found = read("[env.A]\ntype = 'text'\n[env.B]\ntype = 'text'\nrequest = ''")
    assert [f.request for f in found.env] == ["Please enter value for A", ""]


def test_tool_names_come_from_bindings():
    found = read(
        "[subscribe]\n"
        "'tool.v1.execute.a' = {wit = 'r', handler = 'h'}\n"
        "'tool.v1.execute.unbound' = 'r'\n"
        "'tool.v1.execute.*.result' = {wit = 'r', handler = 'h'}\n"
        "'tool.v1.execute.*' = {wit = 'r', handler = 'h'}\n"
        "'tool.v1.execute.result' = {wit = 'r', handler = 'h'}\n"
        "[[interceptor]]\nevent = 'tool.v1.execute.legacy:x'\naction = 'h'\n"
        "[[interceptor]]\nevent = 'tool.v1.execute.legacy:x'\naction = 'twice'\n"
    )
    assert found.tool_names == ("a", "legacy:x")


@pytest.mark.parametrize(
    ("body", "key", "hint"),
    [
        ("identity = ['resovle']", "capabilities.identity[0]", "did you mean 'resolve'?"),
        ("identity = ['link', 'x']", "capabilities.identity[1]", "known: resolve, link, admin"),
        ("mcp_elicitation = ['*', 'x']", "capabilities.mcp_elicitation[1]", "no server"),
        ("mcp_sampling = ['x']", "capabilities.mcp_sampling[0]", "no server"),
        ("net_connect = ['example.org']", "capabilities.net_connect[0]", "write host:port"),
        ("fs_read = ['*', 'docs']", "capabilities.fs_read[1]", "write cwd://docs"),
        ("fs_write = ['cwd://../x']", "capabilities.fs_write[0]", "has '..'"),
    ],
)
def test_entry_without_effect_is_remarked_upon(body: str, key: str, hint: str):
    (warning,) = read(f"[capabilities]\n{body}").warnings
    assert (warning.rule, warning.key, warning.line) == ("W-VALUE", key, 5)
    assert hint in warning.message


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        pytest.param(b"\xff", "E-TOML", 1, id="not-utf8"),
        pytest.param(b"a = 1\n\n# \xc3\x28", "E-TOML", 3, id="not-utf8-later"),
        pytest.param("a = 1\n# \ud800", "E-TOML", 2, id="surrogate"),
        pytest.param("\0", "E-TOML", 1, id="nul"),
        pytest.param('\nx = "\\u0000"', "E-TOML", 2, id="escaped-nul"),
        pytest.param('\n"a\\u0000" = 1', "E-TOML", 2, id="nul-in-key"),
        pytest.param(b"x" * (10 * MAX_BYTES), "E-SIZE", None, id="ten-megabytes"),
        pytest.param("\nx = [[", "E-TOML", 2, id="syntax"),
        pytest.param("x = 1\nx = 2", "E-TOML", 2, id="twice"),
        pytest.param("x = " + "[" * 100_000, "E-TOML", None, id="open-brackets"),
        pytest.param("x = " + "[" * 200 + "]" * 200, "E-TOML", 1, id="deep-array"),
        pytest.param("x = " + "{a=" * 390 + "1" + "}" * 390, "E-TOML", 1, id="deep-table"),
        pytest.param("\n" + ".".join("a" * (MAX_DEPTH + 1)) + " = 1", "E-TOML", 2, id="long-key"),
        pytest.param("[" + "a." * 400_000 + "a]", "E-TOML", 1, id="long-header"),
        pytest.param("x = 9223372036854775808", "E-TOML", 1, id="65-bits"),
        pytest.param("x = " + "9" * 5000, "E-TOML", None, id="digits"),
        pytest.param("x = 0x" + "f" * 100_000, "E-TOML", 1, id="hex-digits"),
        pytest.param("\nx = [1.0, nan]", "E-TOML", 2, id="nan"),
        pytest.param("x = -inf", "E-TOML", 1, id="infinite"),
    ],
)
def test_text_denied_when_hostile(text: str | bytes, rule: str, line: int | None):
    error = refusal(text)
    assert (error.rule, error.line) == (rule, line)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x.y = 1", "unknown table 'x'", None),
        (HDR + "x = 1", "unknown key 'x'", None),
        ("[package]", "[package] has no 'name'", "add name = ..."),
        ("", "the document has no 'package'", "add a [package] table"),
        (".".join("a" * (MAX_DEPTH + 1)) + " = 1", "a key has more than 32 parts", None),
        ("x = " + "[" * 40 + "]" * 40, "values are nested too deeply", None),
    ],
)
def test_message(text: str, message: str, hint: str | None):
    error = refusal(text)
    assert error.message == message
    assert hint is None or error.hint == hint


def test_missing_metadata_is_an_empty_table():
    assert read("").package.metadata == {}


def test_size_limit_is_exact():
    assert parse_manifest(HDR + "#" * (MAX_BYTES - len(HDR))).name == "t"
    assert refusal(HDR + "#" * (MAX_BYTES - len(HDR) + 1)).rule == "E-SIZE"


def test_nesting_limit_is_exact():
    inner = ".".join("x" * (MAX_DEPTH - 2))
    assert read(f"[package.metadata.{inner}]").name == "t"
    assert refusal(f"{HDR}[package.metadata.{inner}.y]").rule == "E-TOML"


@pytest.mark.parametrize("line", ["[" + "a." * 31 + "b{}]", " \t" * 500_000])
@pytest.mark.slow
def test_long_documents_are_read_quickly(line: str):
    body = "\n".join(line.format(i) for i in range(MAX_BYTES // (len(line) + 8) - 1))
    assert refusal(body).rule in ("E-UNKNOWN", "E-TOML")


def test_byte_order_mark_and_windows_line_ends():
    text = ("\ufeff" + HDR + "[capabilities]\nnett = []").replace("\n", "\r\n")
    assert refusal(text.encode()).line == 5
    assert parse_manifest(("\ufeff" + HDR).encode()).name == "t"
