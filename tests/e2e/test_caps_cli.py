"""`astrid caps` in real processes."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.commands import run_astrid

ASTRID = str(Path(sys.executable).with_name("astrid"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    profiles = tmp_path / "home" / "etc" / "profiles"
    profiles.mkdir(parents=True)
    for directory in (profiles, profiles.parent, profiles.parent.parent):
        directory.chmod(0o700)
    (profiles / "alice.toml").write_text('groups = ["agent"]\nrevokes = ["self:quota:set"]\n')
    return tmp_path / "home"


def astrid(home: Path, *arguments: str, status: int = 0) -> str:
    environment = {"ASTRID_HOME": str(home), "NO_COLOR": "1"}
    ended = run_astrid("caps", *arguments, cwd=home.parent, env=environment)
    assert ended.returncode == status, ended.stderr
    return ended.stdout


def test_a_decision_is_explained_with_its_rule(home: Path) -> None:
    said = astrid(home, "explain", "alice", "self:quota:set", status=1)
    assert said.startswith("self:quota:set for alice: refused by rule revokes:self:quota:set\n")
    found = json.loads(astrid(home, "explain", "alice", "ListCapsules", "--json"))
    assert (found["allowed"], found["rule"]) == (True, "group:agent:self:*")
    assert [step["effect"] for step in found["steps"]] == ["silent", "silent", "silent", "allows"]


def test_a_question_without_sense_is_refused(home: Path) -> None:
    astrid(home, "explain", "a b", "GetStatus", status=1)
    astrid(home, "explain", "alice", "fs.read", "workspace://a", "--capsule", "none", status=1)


@pytest.mark.slow
def test_a_token_is_made_narrowed_offline_and_kept(home: Path) -> None:
    token = astrid(home, "token", "mint", "alice", "right://system:status", "--life", "2h").strip()
    nowhere = home.parent / "nobodys-home"
    narrow = astrid(nowhere, "token", "attenuate", token, "--life", "15m", "--once").strip()
    said = json.loads(astrid(nowhere, "token", "show", narrow, "--json"))
    assert (said["single_use"], said["caveats"]) == (True, 1)
    assert not nowhere.exists()
    astrid(home, "token", "add", narrow, status=1)  # the owner is not alice
    astrid(home, "token", "attenuate", token, "--allow", "write", status=1)
    kept = json.loads(
        astrid(home, "token", "mint", "alice", "right://system:status", "--keep", "--json")
    )
    found = json.loads(astrid(home, "explain", "alice", "GetStatus", "--json"))
    assert (found["allowed"], found["rule"]) == (True, f"token:{kept['id']}")
    astrid(home, "token", "revoke", kept["id"], "--yes")
    astrid(home, "explain", "alice", "GetStatus", status=1)


@pytest.mark.slow
def test_an_allowance_is_shown_and_taken_back(home: Path) -> None:
    agreed = asyncio.run(_agree(home))
    (row,) = json.loads(astrid(home, "allowance", "list", "--of", "alice", "--json"))
    assert (row["id"], row["covers"]["resource"]) == (agreed, "git push")
    assert "exact_request: shell run git push" in astrid(home, "allowance", "list", "--of", "alice")
    removed = astrid(home, "allowance", "remove", agreed, "--of", "alice", "--yes", "--json")
    assert json.loads(removed)["changed"] is True
    astrid(home, "allowance", "remove", agreed, "--of", "alice", "--yes")
    assert json.loads(astrid(home, "allowance", "list", "--of", "alice", "--json")) == []


async def _agree(home: Path) -> str:
    alice, shell = Principal("alice"), CapsuleId("shell")
    async with Kernel.open(home=home) as kernel:
        ask = functools.partial(kernel.approvals.request, alice, shell, "run", resource="git push")
        question = (await asyncio.to_thread(ask)).question
        decide = functools.partial(kernel.approvals.answer, by=alice)
        await asyncio.to_thread(decide, question.id, "approve_always")
        return str(question.id)
