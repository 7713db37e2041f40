"""`astrid audit` in real processes: find entries, prove that they are whole, take copies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.kernel.assembly import assemble
from astrid_hookspecs.values import Principal
from tests.support.audit_chains import entry
from tests.support.commands import run_astrid

ASTRID = str(Path(sys.executable).with_name("astrid"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in whose log two principals acted and one was refused something; signed one by one."""
    project = tmp_path / "project"
    project.mkdir()
    parts = assemble(tmp_path / "home", workspace=project)
    try:
        for number in range(3):
            parts.audit.append(entry(number), durable=True)
        parts.audit.append(
            entry(4, principal=Principal("bob"), timestamp="2026-04-01T00:00:00.000Z"),
            durable=True,
        )
        parts.audit.append(
            entry(5, outcome="denied", rule="fs_write", resource="home://\x1b[31m"), durable=True
        )
    finally:
        parts.release.close()
    return tmp_path / "home"


def astrid(home: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {"ASTRID_HOME": str(home), "NO_COLOR": "1"}
    ended = run_astrid("audit", *arguments, cwd=home.parent, env=environment)
    assert ended.returncode == status, ended.stderr
    return ended


def found(home: Path, *arguments: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(astrid(home, *arguments, "--json").stdout)
    return listed


@pytest.mark.slow
def test_entries_are_found_by_who_what_when_and_how_it_ended(home: Path) -> None:
    assert len(found(home, "query")) == 5
    assert len(found(home, "query", "--principal", "ada")) == 4
    assert len(found(home, "query", "--action", "fs.*", "--until", "2026-03-02")) == 4
    assert [row["principal"] for row in found(home, "query", "--since", "2026-03-02")] == ["bob"]
    assert found(home, "query", "--since", "1h") == []
    (refused,) = found(home, "query", "--outcome", "denied")
    assert refused["authorization"]["reason"] == "fs_write"
    assert len(found(home, "tail", "-n", "2")) == 2


@pytest.mark.slow
def test_text_from_guests_is_escaped_for_terminals(home: Path) -> None:
    shown = astrid(home, "query", "--outcome", "denied").stdout
    assert "home://" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("option", [("--outcome", "maybe"), ("--since", "yesterday")])
def test_a_question_that_makes_no_sense_is_refused(home: Path, option: tuple[str, str]) -> None:
    ended = astrid(home, "query", *option, status=1)
    assert option[1] in ended.stderr
    assert "hint: use" in ended.stderr


def test_verify_proves_a_whole_log_and_says_where_a_changed_one_differs(home: Path) -> None:
    assert json.loads(astrid(home, "verify", "--json").stdout)["ok"] is True
    (segment,) = (home / "var" / "audit" / "ada").rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"denied", b"allowed"))
    ended = astrid(home, "verify", status=7)
    assert "tampered" in ended.stderr
    assert "entry 4" in ended.stderr
    assert "1 of 2 chains" in ended.stderr


def test_a_changed_log_is_one_json_document_too(home: Path) -> None:
    (segment,) = (home / "var" / "audit" / "ada").rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"denied", b"allowed"))
    told = json.loads(astrid(home, "verify", "--json", status=7).stdout)
    assert told["ok"] is False
    assert told["error"]["code"] == "audit.chain-broken"
    assert [chain["condition"] for chain in told["chains"]] == ["tampered", "intact"]


@pytest.mark.slow
def test_an_export_proves_itself_without_the_home(home: Path) -> None:
    target = home.parent / "audit.jsonl"
    key = json.loads(astrid(home, "export", str(target), "--json").stdout)["key"]
    assert target.stat().st_mode & 0o777 == 0o600
    away = home.parent / "elsewhere"
    proved = astrid(away, "verify", str(target), "--key", key).stdout
    assert "5 entries in 2 chains" in proved
    assert "re-signed" in astrid(away, "verify", str(target), status=7).stderr
    assert "exists" in astrid(home, "export", str(target), status=1).stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [lines[0].replace(b"allowed", b"denied"), *lines[1:]], "tampered"),
        (lambda lines: lines[2:], "tampered"),
        (lambda lines: [*lines[:6], *lines[8:]], "truncated"),
        (lambda lines: [*lines[:-3], lines[-1]], "truncated"),
        (lambda lines: lines[:-1], "heads-malformed"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b"2026", b"2025")], "heads-signature"),
    ],
)
def test_a_changed_export_is_told(
    home: Path, change: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    target = home.parent / "audit.jsonl"
    astrid(home, "export", str(target))
    target.write_bytes(b"".join(change(target.read_bytes().splitlines(keepends=True))))
    assert said in astrid(home, "verify", str(target), status=7).stderr


def test_a_damaged_log_is_exported_as_it_is_and_proves_nothing(home: Path) -> None:
    (segment,) = (home / "var" / "audit" / "ada").rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"denied", b"allowed"))
    target = home.parent / "audit.jsonl"
    astrid(home, "export", str(target))
    assert segment.read_bytes().splitlines()[0] in target.read_bytes()
    assert "tampered" in astrid(home, "verify", str(target), status=7).stderr


def test_an_export_can_be_a_selection(home: Path) -> None:
    target = home.parent / "denied.jsonl"
    astrid(home, "export", str(target), "--outcome", "denied")
    (row,) = [json.loads(line) for line in target.read_text().splitlines()]
    assert row["authorization"]["reason"] == "fs_write"
    assert "heads-malformed" in astrid(home, "verify", str(target), status=7).stderr
