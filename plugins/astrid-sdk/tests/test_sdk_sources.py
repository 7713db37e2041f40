"""Reading a project: its files, its declarations, its findings."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host.builder import PythonCapsuleBuilder, extra_files
from astrid_sdk_host.cache import BuildCache
from astrid_sdk_host.checks import CAPABILITIES, line_of
from astrid_sdk_host.inspection import SourceError, read_declarations
from astrid_sdk_host.manifest import make_manifest
from astrid_sdk_host.project import is_python_project, read_project
from astrid_sdk_host.world import world_text

Write = Callable[..., Path]
HELLO = "from astrid_sdk import tool\n\n\n@tool\ndef hello() -> str:\n    return 'hi'\n"


@pytest.fixture
def builder(tmp_path: Path) -> PythonCapsuleBuilder:
    return PythonCapsuleBuilder(cache=BuildCache(tmp_path / "cache"))


def rules(builder: PythonCapsuleBuilder, root: Path) -> list[tuple[str, str, int | None]]:
    return [(item.rule, item.file, item.line) for item in builder.check(root)]


def declared(root: Path) -> dict[str, Any]:
    project = read_project(root)
    return read_declarations(project, search_path=[project.search_path])


class TestProject:
    def test_name_comes_from_pyproject(self, project: Write) -> None:
        found = read_project(project())

        assert (found.name, found.version, found.package) == ("probe", "0.1.0", "probe")

    def test_manifest_alone_is_enough(self, project: Write) -> None:
        root = project(manifest='[package]\nname = "probe"\nversion = "2.0.0"\n', pyproject="")

        assert is_python_project(root)
        assert read_project(root).version == "2.0.0"

    def test_single_module_is_found(self, project: Write) -> None:
        root = project()
        (root / "src/probe/__init__.py").rename(root / "src/single.py")
        (root / "pyproject.toml").write_text(
            '[project]\nname = "probe"\n[tool.astrid]\nmodule = "single"\n'
        )

        assert read_project(root).source.name == "single.py"

    @pytest.mark.parametrize(
        ("pyproject", "manifest", "words"),
        [
            ("[project", "", "pyproject.toml is not valid TOML"),
            ('[project]\nname = "Probe"\n', "", "cannot name a capsule"),
            (
                '[project]\nname = "probe"\n',
                '[package]\nname = "other"\n',
                "disagree about the name",
            ),
            ('[project]\nname = "nope"\n', "", "there is no package 'nope'"),
            ("", "", "says the name of the capsule"),
            ('[project]\nname = "p"\n[tool.astrid]\nmodule = "astrid_sdk"\n', "", "import name"),
            ('[project]\nname = "probe"\ndependencies = "x"\n', "", "list of requirements"),
            ("project = 3\n", "", r"\[project\] must be a table"),
        ],
    )
    def test_malformed_project_is_refused(
        self, project: Write, pyproject: str, manifest: str, words: str
    ) -> None:
        with pytest.raises(CapsuleError, match=words) as caught:
            read_project(project(manifest=manifest, pyproject=pyproject))
        assert caught.value.code == "capsule.build"

    def test_other_trees_are_not_ours(self, tmp_path: Path) -> None:
        assert not is_python_project(tmp_path)
        (tmp_path / "Capsule.toml").write_text("[package]\n")
        assert not is_python_project(tmp_path)
        (tmp_path / "pyproject.toml").write_text("[broken")
        assert not is_python_project(tmp_path)

    def test_the_sdk_is_not_a_dependency_to_collect(self, project: Write) -> None:
        root = project(
            pyproject='[project]\nname = "probe"\ndependencies = ["Astrid_SDK >= 0.1", "tinydb"]\n'
        )

        assert read_project(root).dependencies == ("tinydb",)


class TestDeclarations:
    def test_interfaces_are_those_that_are_used(self, project: Write) -> None:
        assert declared(project())["interfaces"] == ["ipc", "poll", "sys"]
        source = "from astrid_sdk import kv\n" + HELLO
        assert declared(project(source))["interfaces"] == ["ipc", "kv", "poll", "sys"]

    def test_state_uses_the_store(self, project: Write) -> None:
        source = "from astrid_sdk import tool\n@tool(mutable=True)\ndef f(s: dict) -> None: ...\n"
        assert "kv" in declared(project(source))["interfaces"]

    def test_world_has_exactly_what_is_defined(self, project: Write) -> None:
        text = world_text(declared(project()))
        assert "astrid-hook-trigger" in text
        assert "export run" not in text
        assert "astrid:kv" not in text

        source = (
            "from astrid_sdk import install, run\n@run\ndef f(x): ...\n@install\ndef g(): ...\n"
        )
        text = world_text(declared(project(source)))
        assert "export run: func();" in text
        assert "export astrid-install: func();" in text
        assert "astrid-upgrade" not in text
        assert "astrid-hook-trigger" not in text

    @pytest.mark.parametrize(
        ("source", "line", "words"),
        [
            ("x = 1\ny = 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
            ("x = (\n", 1, "SyntaxError"),
            ("import numpy\n", 1, "ModuleNotFoundError: No module named 'numpy'"),
            ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
            ("from astrid_sdk import kv\nkv.get('k')\n", 2, "NotInCapsuleError"),
            ("from astrid_sdk import tool\n@tool\ndef f(x): ...\n", 2, "has no type hint"),
        ],
    )
    def test_broken_source_names_the_authors_line(
        self, project: Write, builder: PythonCapsuleBuilder, source: str, line: int, words: str
    ) -> None:
        root = project(source)

        with pytest.raises(SourceError, match=words) as caught:
            builder.build(root, root / "staging", progress=None)

        assert (caught.value.file, caught.value.line) == ("src/probe/__init__.py", line)
        assert f"src/probe/__init__.py:{line}" in str(caught.value)
        assert str(caught.value).partition("\n")[0].count("__init__.py:") == 1
        assert str(root) not in str(caught.value)
        assert "astrid_sdk/" not in str(caught.value)
        assert not (root / "staging").exists()

    def test_import_of_the_builders_own_packages_fails(self, project: Write) -> None:
        with pytest.raises(SourceError, match="No module named 'pytest'") as caught:
            declared(project("import pytest\n"))
        assert "dependencies" in (caught.value.hint or "")

    def test_prints_do_not_disturb(self, project: Write) -> None:
        assert declared(project("print('{')\n" + HELLO))["package"] == "probe"

    def test_a_process_that_dies_is_reported(self, project: Write) -> None:
        with pytest.raises(CapsuleError, match="ended with status 7"):
            declared(project("import os\nos._exit(7)\n"))


class TestManifest:
    def make(self, root: Path) -> dict[str, Any]:
        return tomllib.loads(make_manifest(read_project(root), declared(root)))

    def test_routes_and_answers_are_added(self, project: Write) -> None:
        source = """
            from astrid_sdk import command, interceptor, tool
            @tool
            def hello() -> str:
                "Greet."
            @interceptor("a.*", priority=7)
            def on_a(event): ...
            @command("/hi")
            def hi():
                "Say hi."
        """
        built = self.make(project(source))

        assert built["component"] == [{"file": "probe.wasm", "type": "executable"}]
        assert built["subscribe"] == {
            "tool.v1.execute.hello": {"wit": "opaque", "handler": "tool_execute_hello"},
            "tool.v1.request.describe": {"wit": "opaque", "handler": "tool_describe"},
            "a.*": {"wit": "opaque", "handler": "on_a", "priority": 7},
            "cli.v1.command.execute": {"wit": "opaque", "handler": "command_execute"},
        }
        assert set(built["publish"]) == {
            "tool.v1.execute.hello.result",
            "tool.v1.response.describe.*",
        }
        assert built["tool"] == [{"name": "hello", "description_for_llm": "Greet."}]
        assert built["command"] == [{"name": "/hi", "description": "Say hi."}]

    def test_what_the_author_wrote_stays(self, project: Write) -> None:
        root = project(
            HELLO,
            manifest="""
                # why
                [package]
                name = "probe"
                version = "0.1.0"
                [publish]
                "own.topic" = { wit = "mine" }
                [subscribe]
                "tool.v1.request.describe" = "@me/contracts/describe"
                [capabilities]
                net = ["example.org"]
                [[component]]
                file = "other.wasm"
                id = "core"
                [[tool]]
                name = "hello"
                description_for_llm = "By hand"
            """,
        )
        built = self.make(root)

        assert built["publish"]["own.topic"] == {"wit": "mine"}
        assert built["subscribe"]["tool.v1.request.describe"] == {
            "wit": "@me/contracts/describe",
            "handler": "tool_describe",
        }
        assert built["component"] == [{"file": "other.wasm", "id": "core"}]
        assert built["capabilities"] == {"net": ["example.org"]}
        assert built["tool"] == [{"name": "hello", "description_for_llm": "By hand"}]
        assert "# why" in make_manifest(read_project(root), declared(root))

    def test_nothing_is_granted_that_nobody_asked_for(self, project: Write) -> None:
        source = """
            from astrid_sdk import interceptor, ipc
            @interceptor("a")
            def f(event):
                ipc.publish("b", "1")
        """
        assert "publish" not in self.make(project(source))

    def test_old_style_lists_are_carried_over_into_the_tables(self, project: Write) -> None:
        root = project(
            HELLO,
            manifest='[capabilities]\nipc_publish = ["old.out"]\nipc_subscribe = ["old.in"]\n',
        )
        built = self.make(root)

        assert "old.out" in built["publish"]
        assert "old.in" in built["subscribe"]

    def test_tools_routed_by_hand_are_taken_literally(self, project: Write) -> None:
        root = project(
            HELLO + "@tool\ndef second() -> str: ...\n",
            manifest="""
                [subscribe]
                "tool.v1.execute.hello" = { wit = "opaque", handler = "tool_execute_hello" }
                [publish]
                "tool.v1.execute.hello.result" = { wit = "opaque" }
            """,
        )
        built = self.make(root)

        assert "tool.v1.execute.second" not in built["subscribe"]
        assert "tool.v1.execute.second.result" not in built["publish"]

    @pytest.mark.parametrize("file", ["../x.wasm", "/x.wasm", "a/b.wasm", "..", ""])
    def test_component_file_stays_in_the_capsule(self, project: Write, file: str) -> None:
        root = project(manifest=f'[[component]]\nfile = "{file}"\n')
        with pytest.raises(CapsuleError, match="plain file name"):
            self.make(root)


class TestExtras:
    @pytest.mark.parametrize(
        ("file", "words"),
        [
            ("../secret.txt", "must lie inside the project"),
            ("/etc/hostname", "must lie inside the project"),
            ("a/../../secret.txt", "must lie inside the project"),
            ("missing.md", "does not exist"),
        ],
    )
    def test_files_outside_the_project_are_never_staged(
        self, project: Write, file: str, words: str
    ) -> None:
        root = project(manifest=f'[[context_file]]\nname = "guide"\nfile = "{file}"\n')
        (root.parent / "secret.txt").write_text("secret")
        with pytest.raises(CapsuleError, match=words):
            extra_files(read_project(root))

    def test_named_files_belong_to_the_capsule(self, project: Write) -> None:
        root = project(
            manifest="""
                [package]
                name = "probe"
                version = "0.1.0"
                readme = "README.md"
                [[skill]]
                name = "tidy"
                file = "skills/tidy.md"
            """
        )
        (root / "skills").mkdir()
        (root / "skills/tidy.md").write_text("tidy")
        (root / "README.md").write_text("read")
        assert extra_files(read_project(root)) == ["README.md", "skills/tidy.md"]


class TestCheck:
    def test_a_good_project_has_no_findings(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        assert builder.check(project(HELLO)) == []

    def test_unrouted_tool(self, project: Write, builder: PythonCapsuleBuilder) -> None:
        root = project(
            HELLO + "@tool\ndef second() -> str: ...\n",
            manifest="""
                [subscribe]
                "tool.v1.execute.hello" = { wit = "opaque", handler = "tool_execute_hello" }
            """,
        )
        assert rules(builder, root) == [("unrouted-tool", "src/probe/__init__.py", 8)]

    def test_missing_publish_of_a_result(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        root = project(
            HELLO, manifest='[publish]\n"tool.v1.execute.other.result" = { wit = "opaque" }\n'
        )
        assert rules(builder, root) == [("missing-publish", "src/probe/__init__.py", 5)]

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (
                "from astrid_sdk import ipc\nipc.publish_json('out.v1.x', 1)\n",
                [("missing-publish", 2)],
            ),
            (
                "import astrid_sdk.ipc as bus\nbus.publish('out.v1.x', '1')\n",
                [("missing-publish", 2)],
            ),
            (
                "from astrid_sdk import ipc\nT = 'out.v1.x'\nipc.publish(T, '1')\n",
                [("missing-publish", 3)],
            ),
            ("from astrid_sdk import ipc\nipc.publish('granted.a', '1')\n", []),
            ("from astrid_sdk import ipc\ndef f(t):\n    ipc.publish(t, '1')\n", []),
            ("from astrid_sdk import ipc\nipc.subscribe('in.x')\n", [("missing-subscribe", 2)]),
            (
                "from astrid_sdk import ipc\nipc.request('granted.a', {}, response='r')\n",
                [("missing-subscribe", 2)],
            ),
            ("class Other:\n    def publish(self, t): ...\nOther().publish('out')\n", []),
        ],
    )
    def test_topics_that_would_be_refused(
        self,
        project: Write,
        builder: PythonCapsuleBuilder,
        source: str,
        expected: list[tuple[str, int]],
    ) -> None:
        root = project(source, manifest='[publish]\n"granted.*" = { wit = "opaque" }\n')
        found = [(rule, line) for rule, _, line in rules(builder, root)]
        assert found == expected

    def test_dangling_subscription_and_handler_mismatch(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        root = project(
            "from astrid_sdk import interceptor\n@interceptor('a.b')\ndef on_b(e): ...\n",
            manifest="""
                [subscribe]
                "a.b" = { wit = "opaque", handler = "other" }
                "a.c" = { wit = "opaque", handler = "nobody" }
                "a.d" = "opaque"
            """,
        )
        assert rules(builder, root) == [
            ("handler-mismatch", "Capsule.toml", 3),
            ("dangling-subscription", "Capsule.toml", 4),
        ]

    def test_run_loop_cannot_subscribe_to_inner_wildcards(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        source = """
            from astrid_sdk import interceptor, run
            @interceptor("a.*.c")
            def on(e): ...
            @run
            def main(loop): ...
        """
        assert [rule for rule, *_ in rules(builder, project(source))] == ["dangling-subscription"]

    def test_what_cannot_be_read_is_not_called_unused(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        root = project("def f(:\n", manifest='[capabilities]\nnet = ["x.org"]\n')

        assert [item.rule for item in builder.check(root)] == ["syntax-error"]

    @pytest.mark.parametrize(
        ("kind", "found"),
        [
            ("sekret", [("env-type", 2)]),
            ("password", [("env-type", 2)]),
            *((kind, []) for kind in ("Secret", "text", "array", "string", "number")),
        ],
    )
    def test_a_secret_that_would_be_text(
        self,
        project: Write,
        builder: PythonCapsuleBuilder,
        kind: str,
        found: list[tuple[str, int]],
    ) -> None:
        root = project(HELLO, manifest=f'[env.TOKEN]\ntype = "{kind}"\n')

        assert [(item.rule, item.line) for item in builder.check(root)] == found

    def test_capabilities(self, project: Write, builder: PythonCapsuleBuilder) -> None:
        root = project(
            HELLO, manifest='[capabilities]\nfly = ["moon"]\nnet = ["x.org"]\nfs_read = []\n'
        )
        found = [(item.rule, item.severity, item.line) for item in builder.check(root)]
        assert found == [("unknown-capability", "error", 2), ("unused-capability", "warning", 3)]

    @pytest.mark.parametrize(
        ("source", "manifest", "expected"),
        [
            ("from astrid_sdk import http\nhttp.get(u)\nhttp.get(v)\n", "", ["missing-net"]),
            ("from astrid_sdk import http\nhttp.get(u)\n", '[capabilities]\nnet = ["x.org"]\n', []),
            ("from astrid_sdk.net import connect\nconnect('h', 1)\n", "", ["missing-net_connect"]),
            ("from astrid_sdk import net\nnet.listen('h')\n", "", ["missing-net_tcp_bind"]),
            ("from astrid_sdk import net\nnet.udp('h')\n", "", ["missing-net_udp"]),
            ("from astrid_sdk import net\nnet.listen_local()\n", "", ["missing-net_bind"]),
            ("import astrid_sdk.process as p\np.run(['ls'])\n", "", ["missing-host_process"]),
            ("from astrid_sdk import sys\nsys.config('A')\nsys.config('A')\n", "", ["missing-env"]),
            ("from astrid_sdk import sys\nsys.config('A')\n", '[env.A]\ntype = "text"\n', []),
            ("from astrid_sdk import sys\nsys.config('A', 'b')\nsys.config(x)\n", "", []),
            (
                (
                    "from astrid_sdk import elicit, sys\nelicit.secret('A')\nsys.config('A')\n"
                    "sys.config('B')\n"
                ),
                "",
                ["missing-env"],
            ),
            ("from astrid_sdk import elicit, sys\nelicit.secret(x)\nsys.config('B')\n", "", []),
            (
                (
                    "from astrid_sdk import Deny, interceptor, run\n"
                    "@interceptor('a.b')\ndef on(e): return Deny('no')\n@run\ndef main(loop): ...\n"
                ),
                "",
                ["watching-interceptor"],
            ),
            (
                (
                    "from astrid_sdk import Deny, interceptor\n"
                    "@interceptor('a.b')\ndef on(e): return Deny('no')\n"
                ),
                "",
                [],
            ),
            (
                (
                    "from astrid_sdk import interceptor, run\n"
                    "@interceptor('a.b')\ndef on(e): ...\n@run\ndef main(loop): ...\n"
                ),
                "",
                [],
            ),
        ],
    )
    def test_uses_that_the_manifest_does_not_know(
        self,
        project: Write,
        builder: PythonCapsuleBuilder,
        source: str,
        manifest: str,
        expected: list[str],
    ) -> None:
        found = builder.check(project(source, manifest=manifest))

        assert [item.rule for item in found] == expected
        assert {item.severity for item in found} <= {"warning"}

    @pytest.mark.parametrize(
        ("source", "lists", "expected"),
        [
            ("from astrid_sdk import fs\nfs.walk(x)\n", "", ['fs_read = ["workspace://"]']),
            ("import astrid_sdk.fs as f\nf.walk('n')\n", "", ['fs_read = ["workspace://n"]']),
            ("from astrid_sdk.fs import remove\nremove('/tmp/n')\n", "", ['"tmp://n"']),
            ("from astrid_sdk import fs\nfs.copy('a', y)\n", "", ["fs_read", "fs_write"]),
            ("from astrid_sdk import fs\nfs.rename('a', 'b')\n", "", ["://a", "://b"]),
            ("from astrid_sdk import fs\nfs.open('a', 'rb')\n", "", ["fs_read"]),
            ("from astrid_sdk import fs\nfs.open('a', mode='r+')\n", "", ["fs_read", "fs_write"]),
            ("from astrid_sdk import fs\nfs.open('a', 'a')\n", "", ["fs_write"]),
            ("from astrid_sdk import fs\nfs.open('a', m)\n", "", ["imports astrid_sdk.fs"]),
            ("from astrid_sdk import fs\nuse = fs\n", "", ["imports astrid_sdk.fs"]),
            ("from astrid_sdk import fs\nfs.glob('*.md')\nfs.glob(x)\n", "", ["fs_read"]),
            ("from astrid_sdk import fs\nfs.walk(x)\n", 'fs_read = ["home://"]', []),
            (
                "from astrid_sdk import fs\nfs.stat('home://n/a')\nfs.stat('cwd://n2')\n",
                'fs_read = ["home://n", "cwd://n"]',
                ['"workspace://n2" to fs_read'],
            ),
            ("from astrid_sdk import fs\nfs.stat('a/../b')\n", 'fs_read = ["cwd://c"]', []),
            ("from astrid_sdk import fs\nfs.stat('a')\n", 'fs_read = ["/srv/project"]', []),
            ("from astrid_sdk import fs\nfs.stat('tmp://a')\n", 'fs_read = ["/srv"]', ["tmp://a"]),
            ("class Other:\n    def walk(self, t): ...\nOther().walk('out')\n", "", []),
        ],
    )
    def test_files_that_would_be_refused(
        self,
        project: Write,
        builder: PythonCapsuleBuilder,
        source: str,
        lists: str,
        expected: list[str],
    ) -> None:
        found = builder.check(project(source, manifest=f"[capabilities]\n{lists}\n"))
        assert {item.severity for item in found} <= {"warning"}
        assert len(found) == len(expected)
        for item, text in zip(found, expected, strict=True):
            assert text in item.message

    def test_known_capabilities_are_those_of_the_reference(self) -> None:
        assert {"uplink", "net", "net_connect", "net_bind", "fs_read", "fs_write"} <= set(
            CAPABILITIES
        )
        assert {"host_process", "identity", "kv", "allow_prompt_injection"} <= set(CAPABILITIES)

    @pytest.mark.parametrize(
        ("manifest", "line"),
        [
            ('[env.TOKEN]\ntype = "secret"\ndefault = "hunter2"\n', 3),
            ('[env.KEY]\ntype = "text"\ndefault = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"\n', 3),
            ('[env.KEY]\ntype = "text"\ndefault = "AKIAABCDEFGHIJKLMNOP"\n', 3),
            ('[package.metadata]\nx = "-----BEGIN RSA PRIVATE KEY-----"\n', 2),
        ],
    )
    def test_secret_in_manifest(
        self, project: Write, builder: PythonCapsuleBuilder, manifest: str, line: int
    ) -> None:
        assert rules(builder, project(HELLO, manifest=manifest)) == [
            ("secret-in-manifest", "Capsule.toml", line)
        ]

    def test_ordinary_settings_are_no_secrets(
        self, project: Write, builder: PythonCapsuleBuilder
    ) -> None:
        manifest = '[env.MODE]\ntype = "text"\ndefault = "fast"\n[env.T]\ntype = "secret"\n'
        assert builder.check(project(HELLO, manifest=manifest)) == []

    def test_syntax_error(self, project: Write, builder: PythonCapsuleBuilder) -> None:
        found = builder.check(project("def f(:\n"))
        assert [(item.rule, item.line) for item in found] == [("syntax-error", 1)]

    def test_unreadable_project(self, project: Write, builder: PythonCapsuleBuilder) -> None:
        assert builder.check(project(pyproject="[broken"))[0].rule == "unreadable"

    def test_checking_runs_nothing(self, project: Write, builder: PythonCapsuleBuilder) -> None:
        root = project("raise SystemExit('must not run')\n")
        assert builder.check(root) == []

    def test_lines_are_found_in_every_spelling(self) -> None:
        text = '[a]\nx = 1\n["b"]\n"x" = 2\n[c.d]\n\'x\' = 3\n'
        assert [line_of(text, table, "x") for table in ("a", "b", "c.d", "e")] == [2, 4, 6, None]
        assert line_of(text, "c", "d") == 5
