"""`astrid config`: what holds, where it comes from, and edits that cannot break the file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Astrid = Callable[..., Any]


@pytest.fixture
def file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / ".astrid").mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.delenv("ASTRID_LOG_LEVEL", raising=False)
    return home / "etc/config.toml"


def test_t43_settings_come_with_their_origin(astrid: Astrid, file: Path) -> None:
    assert astrid("config", "set", "logging.level", "debug").status == 0
    shown = astrid("config", "show", "--section", "logging", "--json").json
    assert (shown["level"], shown["_source"]["level"]) == ("debug", "user file")
    rows = astrid("config", "path", "--json").json
    assert [row["path"] for row in rows if row["role"] == "user"] == [str(file)]
    text = astrid("config", "show", "--origin").stdout
    assert 'level = "debug"  # user file' in text
    assert "workers" in text


def test_t43_a_file_beats_a_variable(
    astrid: Astrid, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRID_LOG_LEVEL", "trace")
    assert astrid("config", "get", "logging.level").stdout == '"trace"\n'
    astrid("config", "set", "logging.level", "debug")
    assert astrid("config", "get", "logging.level", "--json").json == {
        "key": "logging.level",
        "value": "debug",
        "source": "user file",
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_edit_keeps_comments_and_never_breaks_the_file(astrid: Astrid, file: Path) -> None:
    file.parent.mkdir(parents=True, mode=0o700)
    file.parent.parent.chmod(0o700)
    before = "# mine\n[limits]\n# few\nworkers = 3 # cores\n"
    file.write_text(before)
    assert astrid("config", "set", "limits.workers", "5").status == 0
    assert file.read_text() == before.replace("3", "5")
    for key, value in (("limits.workers", "0"), ("limits.workers", "many"), ("kernel.bus", "")):
        assert astrid("config", "set", key, value).status == 1
    assert file.read_text() == before.replace("3", "5")
    assert astrid("config", "unset", "limits.workers").status == 0
    assert astrid("config", "get", "limits.workers", "--json").json["source"] == "default"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "loging.level"),
        ("set", "loging.level", "debug"),
        ("unset", "logging.levle"),
        ("show", "--section", "loging"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(
    astrid: Astrid, file: Path, arguments: tuple[str, ...]
) -> None:
    ended = astrid("config", *arguments)
    assert ended.status == 1
    assert "did you mean 'logging" in ended.stderr
    assert not file.exists()


def test_what_a_workspace_wishes_in_vain_is_said(astrid: Astrid, file: Path) -> None:
    wish = Path(".astrid/config.toml")
    wish.write_text("[limits]\nworkers = 1\ninstances = 99999\n[audit]\nstrict = false\n")
    assert not file.exists()
    ended = astrid("config", "show", "--json")
    assert ended.json["limits"]["_source"] == {
        "workers": "workspace file",
        "instances": "default",
    }
    assert "limits.instances stays 256" in ended.stderr
    assert "audit.strict is ignored" in ended.stderr
    checked = astrid("config", "validate", "--json").json
    assert (len(checked["files"]), len(checked["notes"])) == (1, 2)


def test_a_wrong_file_is_named_with_the_line(astrid: Astrid, file: Path, tmp_path: Path) -> None:
    assert not file.exists()
    other = tmp_path / "draft.toml"
    other.write_text("[limits]\nworkers = 0\n")
    ended = astrid("config", "validate", str(other))
    assert ended.status == 1
    assert "draft.toml:2 [limits.workers]" in ended.stderr
    other.write_text("[limits]\nworkers = 1\n")
    assert astrid("config", "validate", str(other)).status == 0
    for odd, problem in (("none.toml", "does not exist"), ("", "not a regular file")):
        ended = astrid("config", "validate", str(tmp_path / odd), "--json")
        assert (ended.status, ended.json["error"]["code"]) == (1, "config.unreadable")
        assert problem in ended.json["error"]["message"]


def test_no_editor_is_started_where_nobody_can_edit(
    astrid: Astrid, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    with Path(os.devnull).open(encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        ended = astrid("config", "edit", "--json")
    assert (ended.status, ended.json["error"]["code"]) == (6, "cli.needs-answer")
    assert not file.exists()


def test_tables_are_shown_in_one_line(astrid: Astrid, file: Path) -> None:
    assert astrid("config", "set", "mounts.notes.url", "memory://a").status == 0
    assert 'notes = { url = "memory://a" }' in astrid("config", "show").stdout
    assert file.exists()


def editor(tmp_path: Path, body: str) -> str:
    """A program that edits its argument as `body` says."""
    script = tmp_path / "editor.sh"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o700)
    return str(script)


def test_t43_an_edit_replaces_the_file_only_when_it_is_right(
    astrid: Astrid, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    wanted = '[logging]\nlevel = "debug"\n'
    (tmp_path / "wanted").write_text(wanted)
    monkeypatch.setenv("EDITOR", editor(tmp_path, f'cp "{tmp_path}/wanted" "$1"'))
    assert astrid("config", "edit").status == 0
    assert file.read_text() == wanted
    monkeypatch.setenv("EDITOR", editor(tmp_path, 'echo nonsense > "$1"'))
    assert astrid("config", "edit").status == 1
    monkeypatch.setenv("EDITOR", editor(tmp_path, 'echo > "$1"; exit 3'))
    assert astrid("config", "edit").status == 1
    monkeypatch.setenv("EDITOR", str(tmp_path / "missing"))
    ended = astrid("config", "edit")
    assert (ended.status, "does not start" in ended.stderr) == (1, True)
    assert file.read_text() == wanted
