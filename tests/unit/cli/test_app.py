"""The parser: what it loads, what it accepts, how it fails."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from astrid_core.cli import groups
from astrid_core.cli.app import root
from astrid_core.cli.command_table import BUILT_IN, LazyCommand
from astrid_core.cli.fast import run_plain
from astrid_core.cli.output import current
from astrid_core.domain.version import VERSION
from astrid_hookspecs.errors import AstridError, ConfigError, IntegrityError, StoreError

Astrid = Callable[..., Any]

COMMAND_PLUGIN = """
import typer
from astrid_hookspecs import hookimpl
from astrid_hookspecs.commands import CommandGroupRecord

def hello(context: typer.Context, name: str) -> int:
    context.obj.output.result({{"hello": name}}, text=f"hello {{name}}")
    return 4

app = typer.Typer()

@app.command()
def one() -> None:
    "The first."

@hookimpl
def astrid_register_commands():
    return [
        CommandGroupRecord({name!r}, "Say hello.", lambda: hello),
        CommandGroupRecord("greetings", "Several.", lambda: app),
    ]
"""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Replace `astrid version` by a function."""

    def install(function: Callable[..., object]) -> None:
        module = types.ModuleType("a_command")
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "a_command", module)
        monkeypatch.setattr(
            groups, "BUILT_IN", {**BUILT_IN, "try": LazyCommand("a_command:run", "Try.")}
        )

    return install


def test_no_arguments_show_the_help(astrid: Astrid) -> None:
    bare, asked = astrid(), astrid("--help")
    assert bare.status == asked.status == 0
    assert bare.stdout == asked.stdout
    assert all(name in bare.stdout for name in BUILT_IN)
    assert "130" in bare.stdout  # exit statuses are documented


@pytest.mark.parametrize("columns", ["", "20", "60", "100", "300"])
def test_the_help_that_needs_no_parser_is_the_parsers_own(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    context = root().make_context("astrid", [], resilient_parsing=True)
    monkeypatch.setattr(type(root()), "help_lines", lambda *_, **__: [("one", "One.")])
    theirs = TyperGroup.get_help(root(), context) + "\n"
    ours = astrid("--help").stdout
    assert apart_from_commands(ours) == apart_from_commands(theirs)
    listed = ours.partition("Commands:\n")[2].partition("\n\n")[0].split()
    assert set(BUILT_IN) <= set(listed)


def apart_from_commands(text: str) -> list[str]:
    """The help text's sections without the list of commands, which the parser has not loaded."""
    return [part for part in text.split("\n\n") if not part.startswith("Commands:")]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments", [(), ("quota",), ("caps", "token")], ids=["root", "group", "nested"]
)
def test_a_group_alone_under_json_is_an_error_in_json(
    astrid: Astrid, arguments: tuple[str, ...]
) -> None:
    ended = astrid("--json", *arguments)

    assert (ended.status, ended.json["error"]["code"]) == (2, "cli.usage")
    assert ended.json["error"]["hint"] == f"see '{' '.join(('astrid', *arguments))} --help'"
    assert ended.stderr == ""


def test_the_help_of_a_group_shows_whole_sentences(astrid: Astrid) -> None:
    words = " ".join(astrid("audit", "--help").stdout.split())

    assert "status 7 when something is not as it was written." in words


def test_help_imports_no_command() -> None:
    script = (
        "import sys; from astrid_core.cli.entry import run; run(['--help']);"
        "sys.exit(any(m in sys.modules for m in "
        "('asyncio', 'wasmtime', 'rich', 'typer', 'astrid_core.cli.plugins', 'loguru', 'tomlkit')))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


@pytest.mark.usefixtures("home")
def test_the_version_needs_no_parser() -> None:
    script = (
        "import sys; from astrid_core.cli.entry import run; run(['--version']);"
        "sys.exit(any(m in sys.modules for m in ('typer', 'asyncio', 'importlib.metadata')))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.decode() == f"astrid {VERSION}\n"


def test_version_says_what_runs_where(astrid: Astrid) -> None:
    facts = astrid("version", "--json").json
    assert facts["version"] == VERSION
    assert facts["commit"]
    assert facts["target"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "plugins", "list"),
        ("plugins", "--json", "list"),
        ("plugins", "list", "--json"),
        ("plugins", "list", "--format", "json"),
        ("--format=json", "plugins", "list"),
    ],
)
def test_flags_are_accepted_everywhere(astrid: Astrid, arguments: tuple[str, ...]) -> None:
    assert isinstance(astrid(*arguments).json, list)


def test_an_unknown_format_is_refused_with_the_known_ones(astrid: Astrid) -> None:
    ended = astrid("plugins", "list", "--format", "jsn")
    assert ended.status == 2
    assert ended.stdout == ""
    assert "jsn" in ended.stderr
    assert "pretty" in ended.stderr
    assert "json" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("plugin",), "'plugins'"),
        (("plugins", "lst"), "'list'"),
        (("instal", "x.capsule"), "'astrid capsule install'"),
        (("daemon", "start"), "'astrid start' or 'demo'"),
        (("overlai", "status"), "'overlay'"),
        (("plugin", "list"), "'plugins'"),
        (
            ("list",),
            "'astrid capsule list' or 'astrid agent list' or 'astrid group list'",
        ),
    ],
)
def test_a_typing_error_gets_a_suggestion(
    astrid: Astrid, arguments: tuple[str, ...], meant: str
) -> None:
    ended = astrid(*arguments)
    assert ended.status == 2
    assert f"did you mean {meant}?" in ended.stderr
    assert ended.stderr.startswith("✗ error: ")


@pytest.mark.parametrize("command", [(), ("plugins",), ("plugins", "list")])
def test_help_is_a_command_too(astrid: Astrid, command: tuple[str, ...]) -> None:
    ended = astrid("help", *command)
    assert ended.status == 0
    assert ended.stdout == astrid(*command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("xyzzy",),
        ("--nonsense",),
        ("plugins", "show"),
        ("plugins", "list", "extra"),
        ("plugins",),
    ],
)
def test_wrong_arguments_end_with_2_and_leave_stdout_empty(
    astrid: Astrid, arguments: tuple[str, ...]
) -> None:
    ended = astrid(*arguments)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr


def test_wrong_arguments_under_json_are_json(astrid: Astrid) -> None:
    ended = astrid("plugins", "lst", "--json")
    assert ended.status == 2
    assert ended.json["ok"] is False
    assert ended.json["error"]["code"] == "cli.usage"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreError("the store is full", hint="make room"), 1),
        (IntegrityError("a seal does not match"), 7),
    ],
)
def test_an_error_is_one_line_with_its_hint(
    astrid: Astrid, command: Any, error: AstridError, status: int
) -> None:
    def fail() -> None:
        raise error

    command(fail)
    ended = astrid("try")
    assert (ended.status, ended.stdout) == (status, "")
    assert ended.stderr.splitlines()[0] == f"✗ error: {error.message}"
    under_json = astrid("try", "--json")
    assert under_json.status == status
    assert under_json.json == {"ok": False, "error": error.to_json()}


def test_causes_are_joined_without_repeating_themselves(astrid: Astrid, command: Any) -> None:
    def fail() -> None:
        raise StoreError("the store cannot be opened") from ConfigError("line 3 is odd")

    command(fail)
    assert astrid("try").stderr == "✗ error: the store cannot be opened: line 3 is odd\n"


def test_a_defect_becomes_internal_with_a_private_log(
    astrid: Astrid, command: Any, home: Path
) -> None:
    def fail() -> None:
        raise ValueError("secret detail")

    command(fail)
    (home / "log").mkdir(parents=True)
    ended = astrid("try", "--json")
    error = ended.json["error"]
    assert (ended.status, error["code"]) == (1, "internal")
    (log,) = (home / "log").iterdir()
    assert log.stem.removeprefix("astrid-") in error["message"]
    assert "secret detail" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert "secret detail" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_bytes_that_are_no_text_are_wrong_arguments(
    astrid: Astrid, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = astrid("agent", "create", "\udcff", "--json")
    assert (ended.status, ended.json["error"]["code"]) == (2, "cli.usage")
    assert run_plain(["--json"], lambda: len("\udcff".encode()), words=["\udcff"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "cli.usage"


def test_commands_without_the_parser_report_what_nobody_foresaw(
    astrid: Astrid, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert astrid("--version").status == 0
    assert run_plain([], full) == 1
    assert "the system refused: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["build", "new", "test"])
def test_a_name_that_no_file_can_have_is_refused_by_the_system(astrid: Astrid, group: str) -> None:
    ended = astrid("capsule", group, "x" * 10_000, "--json")
    error = ended.json["error"]
    assert (ended.status, error["code"]) == (1, "cli.system")
    assert len(error["message"]) < 700


def test_what_somebody_typed_is_not_repeated_without_end(astrid: Astrid) -> None:
    ended = astrid("plugins", "list", "x" * 10_000)
    assert ended.status == 2
    assert len(ended.stderr) < 700


def test_an_interrupt_ends_with_130(astrid: Astrid, command: Any) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    command(fail)
    ended = astrid("try")
    assert (ended.status, ended.stdout) == (130, "")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (5, 5), (True, 0), ("x", 0)])
def test_an_integer_that_a_command_returns_is_the_status(
    astrid: Astrid, command: Any, result: object, status: int
) -> None:
    command(lambda: result)
    assert astrid("try").status == status


def test_a_command_can_exit_by_itself(astrid: Astrid, command: Any) -> None:
    def leave() -> None:
        raise typer.Exit(6)

    command(leave)
    assert astrid("try").status == 6


@pytest.mark.usefixtures("home")
def test_a_closed_pipe_is_quiet() -> None:
    script = "from astrid_core.cli.entry import main; main()"
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, "plugins", "list"],
            check=False,
            stdout=write,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.usefixtures("home")
def test_a_locale_without_the_symbols_gets_a_result_all_the_same() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", "from astrid_core.cli.entry import main; main()", "plugins", "x"],
        check=False,
        capture_output=True,
        env=environment,
    )
    assert done.returncode == 2
    assert b"error: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_plugin_adds_a_command_and_a_group(astrid: Astrid, install: Any) -> None:
    install("greeter", COMMAND_PLUGIN.format(name="hello"))
    ended = astrid("hello", "Ada", "--json")
    assert ended.json == {"hello": "Ada"}
    assert ended.status == 4
    assert astrid("greetings", "one").status == 0
    assert "Say hello." in astrid("--help").stdout


def test_a_plugin_adds_a_command_to_a_group(astrid: Astrid, install: Any) -> None:
    install("greeter", COMMAND_PLUGIN.format(name="plugins.hello"))
    assert astrid("plugins", "hello", "Ada").stdout == "hello Ada\n"
    assert "Say hello." in astrid("plugins", "--help").stdout
    assert "Say hello." not in astrid("--help").stdout
    assert astrid("hello", "Ada").status == 2


@pytest.mark.parametrize("fails_early", [False, True])
def test_a_defect_of_a_plugins_command_is_not_taken_for_ours(
    astrid: Astrid,
    install: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fails_early: bool,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the log of the defect goes
    broken = "[].pop()" if fails_early else 'context.obj["no"]'
    source = COMMAND_PLUGIN.format(name="hello")
    if fails_early:
        source = source.replace("lambda: hello", f"lambda: {broken}")
    else:
        source = source.replace("context.obj.output.result(", f"{broken}(")
    assert broken in source
    install("greeter", source)
    ended = astrid("hello", "Ada")
    assert ended.status == 1
    assert "in a command of plugin 'greeter' of astrid-greeter" in ended.stderr
    assert "report it to the authors of plugin 'greeter'" in ended.stderr


def test_a_plugin_cannot_replace_a_built_in_command(astrid: Astrid, install: Any) -> None:
    install("greeter", COMMAND_PLUGIN.format(name="version"))
    assert VERSION in astrid("version").stdout
    ended = astrid("unknown")
    assert "astrid-greeter" in ended.stderr
    assert "built in" in ended.stderr


def test_a_disabled_plugin_adds_nothing(astrid: Astrid, install: Any) -> None:
    install("greeter", COMMAND_PLUGIN.format(name="hello"))
    assert astrid("plugins", "disable", "greeter").status == 0
    assert astrid("hello", "Ada").status == 2


def test_a_broken_plugin_costs_no_built_in_command_and_no_help(
    astrid: Astrid, install: Any
) -> None:
    install("broken", "1 / 0")
    ended = astrid("--help")
    assert ended.status == 0
    assert "plugins" in ended.stdout
    assert "astrid-broken" in ended.stderr
    assert astrid("plugins", "list").status == 0
    unknown = astrid("whatever")
    assert unknown.status == 1
    assert "astrid plugins disable broken" in unknown.stderr


def test_verbose_shows_what_is_logged(astrid: Astrid, command: Any) -> None:
    from loguru import logger  # noqa: PLC0415 - the command line must not have loaded it before

    def talk() -> None:
        logger.info("a log line")
        current().result("done")

    command(talk)
    handlers = set(logger._core.handlers)  # type: ignore[attr-defined]
    try:
        ended = astrid("try", "-v")
    finally:
        for handler in set(logger._core.handlers) - handlers:  # type: ignore[attr-defined]
            logger.remove(handler)
    assert "a log line" in ended.stderr
    assert ended.stdout == "done\n"


def test_commands_lists_what_the_parser_has(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch, install: Any
) -> None:
    own = {name: BUILT_IN[name] for name in ("plugins", "version", "commands")}
    monkeypatch.setattr(groups, "BUILT_IN", own)
    install("greeter", COMMAND_PLUGIN.format(name="hello"))
    leaves = {leaf["command"]: leaf for leaf in astrid("commands", "--json").json}
    assert {"astrid plugins list", "astrid version", "astrid hello", "astrid greetings one"} <= set(
        leaves
    )
    shown = leaves["astrid plugins show"]
    assert shown["structured"] is True
    assert shown["needs_daemon"] is False
    assert shown["example"] == "astrid plugins show core"
    assert shown["arguments"] == ["name"]
    assert "--json" in shown["flags"]
    json.dumps(leaves)
    assert "astrid plugins list" in astrid("commands").stdout


@pytest.mark.slow
def test_every_structured_command_of_ours_speaks_json(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {name: BUILT_IN[name] for name in ("plugins", "version", "commands")}
    monkeypatch.setattr(groups, "BUILT_IN", own)
    for leaf in astrid("commands", "--json").json:
        if leaf["structured"]:
            assert astrid(*leaf["example"].split()[1:], "--json").json is not None, leaf


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (4, 4, ""),
        (True, 1, ""),
        ("no tea", 1, "no tea"),
        (2.5, 1, "2.5"),
    ],
)
def test_exit_with_a_text_is_a_failure_that_is_said(
    astrid: Astrid, command: Any, code: object, status: int, said: str
) -> None:
    def leave() -> None:
        current().supplier = "plugin 'acme' of astrid-acme 9.9"
        raise SystemExit(code)

    command(leave)
    ended = astrid("try")
    assert ended.status == status
    assert said in ended.stderr
    assert bool(ended.stderr) == bool(said)


@pytest.mark.parametrize("error", [BaseException("stop"), SystemExit(0), SystemExit("stop")])
def test_what_is_no_exception_is_a_defect_too(
    astrid: Astrid, command: Any, home: Path, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    (home / "log").mkdir(parents=True)  # where the traceback goes
    command(fail)
    ended = astrid("try", "--json")
    assert ended.status == 1
    assert ended.json["error"]["code"] == "internal"
    assert "Traceback" not in ended.stderr


def test_a_factory_that_exits_is_no_success(astrid: Astrid, install: Any) -> None:
    install(
        "greeter",
        "from astrid_hookspecs import hookimpl\n"
        "from astrid_hookspecs.commands import CommandGroupRecord\n"
        "def make(): raise SystemExit(0)\n"
        "@hookimpl\n"
        "def astrid_register_commands():\n"
        "    return [CommandGroupRecord('hello', 'Greet.', make)]\n",
    )
    ended = astrid("hello", "--json")
    assert ended.status == 1
    assert "'greeter' of astrid-greeter 1.0" in ended.json["error"]["message"]


def test_plugins_are_imported_where_an_interrupt_can_end_it(astrid: Astrid, install: Any) -> None:
    install(
        "asking",
        "import sys, threading\nsys.stderr.write(f'on {threading.current_thread().name}\\n')\n",
    )
    assert "on MainThread\n" in astrid("capsule", "run", "absent", "tool").stderr


PRINTING_SINK = """
from astrid_hookspecs import hookimpl
from astrid_hookspecs.audit import AuditSinkRecord

class Sink:
    def __init__(self):
        print("made")
    def write(self, entry):
        print("written")
    def close(self):
        print("closed")

@hookimpl
def astrid_register_audit_sinks():
    return [AuditSinkRecord("printing", Sink)]
"""


def test_what_plugins_of_a_kernel_print_is_no_part_of_the_result(
    astrid: Astrid, install: Any
) -> None:
    install("printer", PRINTING_SINK)
    ended = astrid("capsule", "run", "absent", "tool", "--json")
    assert ended.json["ok"] is False
    assert ended.stderr.startswith("made\n")
    assert ended.stderr.endswith("closed\n")
