"""What somebody sees who uses a command for the first time."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.cli.mcp import serve
from astrid_core.cli.quota import named_limits
from astrid_core.cli.tool_call import parse_arguments
from astrid_hookspecs.errors import ConfigError, ToolError

Astrid = Callable[..., Any]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["Ada", "name=Ada", "[1]"])
def test_arguments_that_are_no_object_get_an_example(text: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_arguments(text)

    assert """'{"name": "Ada"}'""" in (caught.value.hint or "")


def test_memory_without_a_unit_is_not_taken_for_bytes() -> None:
    least = {"timeout": None, "storage": None, "processes": None}

    with pytest.raises(ConfigError) as caught:
        named_limits(memory="64", **least)

    assert "64MiB" in (caught.value.hint or "")
    assert named_limits(memory="65536", **least) == {"max_memory_bytes": 65_536}


def test_an_empty_inbox_says_that_it_is_empty(astrid: Astrid) -> None:
    ended = astrid("approvals", "list")

    assert (ended.status, ended.stderr) == (0, "i nothing waits for a decision\n")


def test_a_server_whose_program_is_not_there_is_added_with_a_warning(astrid: Astrid) -> None:
    there = astrid("mcp", "add", "one", "--", sys.executable)
    missing = astrid("mcp", "add", "two", "--", "no-such-program-anywhere")

    assert "!" not in there.stderr
    assert missing.status == 0
    assert "! there is no program 'no-such-program-anywhere' here yet" in missing.stderr


@pytest.mark.parametrize("stdin", [Terminal, io.StringIO])
def test_serving_a_terminal_says_that_a_client_is_expected(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch, stdin: type[io.StringIO]
) -> None:
    monkeypatch.setattr(serve, "serve_stdio", lambda *_, **__: None)
    monkeypatch.setattr(sys, "stdin", stdin())

    ended = astrid("mcp", "serve")

    assert ended.stdout == ""
    assert ("'astrid mcp config CLIENT'" in ended.stderr) is (stdin is Terminal)


@pytest.mark.parametrize(
    ("entries", "rules"),
    [
        ("", ["missing-host_process"]),
        ('[capabilities]\nhost_process = ["clock-serv"]\n', ["missing-host_process"]),
        ('[capabilities]\nhost_process = ["clock-server"]\n', []),
    ],
)
def test_a_server_that_the_gate_would_not_start_is_found(
    astrid: Astrid, tmp_path: Path, entries: str, rules: list[str]
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/Capsule.toml").write_text(
        f'[package]\nname = "clock"\nversion = "1.0.0"\n{entries}'
        '[[mcp_server]]\nid = "time"\ntype = "stdio"\ncommand = "clock-server"\n'
    )

    ended = astrid("--json", "capsule", "check", str(tmp_path / "clock"))

    assert [finding["rule"] for finding in ended.json["findings"]] == rules
    assert ended.status == bool(rules)
