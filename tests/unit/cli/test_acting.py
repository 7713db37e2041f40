"""For whom a command acts, and that no command silently acts for the owner instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.cli.acting import COMMANDS
from astrid_core.cli.command_table import BUILT_IN

Astrid = Callable[..., Any]


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTRID_PRINCIPAL", raising=False)


def test_the_flag_wins_over_the_variable_and_that_over_the_switched_agent(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acting(*flags: str) -> str:
        return str(astrid(*flags, "agent", "current").stdout.strip())

    seen = [acting()]
    assert astrid("agent", "switch", "alice").status == 0
    seen.append(acting())
    monkeypatch.setenv("ASTRID_PRINCIPAL", "bob")
    seen.append(acting())
    seen.append(acting("--principal", "carl"))
    seen.append(acting())
    assert seen == ["default", "alice", "bob", "carl", "bob"]


@pytest.mark.parametrize("command", sorted(BUILT_IN.keys() - set(COMMANDS)))
def test_a_command_is_refused_when_it_cannot_act_for_an_agent(astrid: Astrid, command: str) -> None:
    ended = astrid("--principal", "alice", command)
    assert ended.status == 1
    assert f"'astrid {command}' acts for the owner" in ended.stderr


def test_an_acting_name_that_is_none_is_refused(
    astrid: Astrid, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert astrid("--principal", "a/b", "agent", "current").status == 1
    monkeypatch.setenv("ASTRID_PRINCIPAL", "")
    assert astrid("agent", "current").status == 1
    monkeypatch.delenv("ASTRID_PRINCIPAL")
    (home / "run").mkdir(parents=True, mode=0o700)
    (home / "run/cli-context.toml").write_text("agent = 'x'\n")
    ended = astrid("agent", "current")
    assert ended.status == 1
    assert "active_agent" in ended.stderr
