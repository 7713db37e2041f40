"""`astrid approvals` in real processes: the inbox, and answers that count.

Spec: cli-and-ux 9, T-15, T-16.
"""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import time
import uuid
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_hookspecs.errors import ApprovalDeniedError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.commands import run_astrid
from tests.support.daemon import short_directory
from tests.support.daemon_here import DaemonHere, serving
from tests.support.shell import PATIENCE_S, Shell, on_terminal

ALICE, SHELL = Principal("alice"), CapsuleId("shell")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def make_home(home: Path) -> Path:
    profiles = home / "etc" / "profiles"
    profiles.mkdir(parents=True)
    for directory in (profiles, profiles.parent, home):
        directory.chmod(0o700)
    (profiles / "alice.toml").write_text('groups = ["agent"]\n')
    (profiles / "mallory.toml").write_text('groups = ["agent"]\n')
    return home


def astrid(home: Path, *arguments: str, status: int = 0, who: str | None = None) -> str:
    acting = () if who is None else ("--principal", who)
    environment = {"ASTRID_HOME": str(home), "NO_COLOR": "1"}
    ended = run_astrid(*acting, *arguments, cwd=home.parent, env=environment)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if status == 0 else ended.stderr


def waiting(home: Path, *options: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        astrid(home, "approvals", "list", *(options or ("--of", "alice")), "--json")
    )
    return found


def put(home: Path, *resources: str) -> list[str]:
    """Questions of alice's shell that nobody waits for any more."""

    async def main() -> list[str]:
        async with Kernel.open(home=home) as kernel:
            return [str(ask(kernel, resource)) for resource in resources]

    return asyncio.run(main())


def ask(kernel: Kernel, resource: str) -> uuid.UUID:
    ticket = kernel.approvals.request(ALICE, SHELL, "git push", resource=resource)
    with pytest.raises(ApprovalDeniedError):
        kernel.approvals.wait(ticket, timeout_s=0)
    return ticket.pending.question.id if ticket.pending else ticket.question.id


def tries(home: Path, resource: str) -> bool:
    """Whether the retry finds a yes."""

    async def main() -> bool:
        async with Kernel.open(home=home) as kernel:
            ticket = kernel.approvals.request(ALICE, SHELL, "git push", resource=resource)
            try:
                kernel.approvals.wait(ticket, timeout_s=0)
            except ApprovalDeniedError:
                kernel.approvals.forget(ALICE)
                return False
            return True

    return asyncio.run(main())


@pytest.mark.slow
def test_the_inbox_outlives_who_asked_and_the_yes_waits_for_the_retry(home: Path) -> None:
    first, second = put(home, "git push origin", "git push; id")
    assert {row["id"] for row in waiting(home)} == {first, second}
    assert "git push origin" in astrid(home, "approvals", "list", "--of", "alice")
    assert waiting(home, "--of", "default") == []
    shown = json.loads(astrid(home, "approvals", "show", first, "--of", "alice", "--json"))
    assert (shown["scope"], shown["capsule"], shown["state"]) == ("git push *", "shell", "pending")
    assert "git push *" in astrid(home, "approvals", "show", first, "--of", "alice")
    assert "exact" in astrid(home, "approvals", "show", second, "--of", "alice")
    astrid(home, "approvals", "show", second, status=1)
    astrid(home, "approvals", "allow", first, "--once")
    assert [row["id"] for row in waiting(home)] == [second]
    astrid(home, "approvals", "deny", second)
    assert waiting(home) == []
    assert tries(home, "git push origin")
    assert not tries(home, "git push origin")
    assert not tries(home, "git push; id")


@pytest.mark.slow
def test_always_has_a_scope_and_a_token(home: Path) -> None:
    (asked,) = put(home, "git push origin x")
    assert "does not cover" in astrid(
        home, "approvals", "allow", asked, "--always", "--scope", "ls *", status=1
    )
    astrid(home, "approvals", "allow", asked, "--always", "--scope", "git push origin *")
    assert tries(home, "git push origin y")
    assert not tries(home, "git push other")
    (token,) = json.loads(astrid(home, "caps", "token", "list", "alice", "--json"))
    assert token["resources"][0].startswith(f"allowance://{asked}/")
    astrid(home, "caps", "token", "revoke", token["id"], "--yes")
    assert not tries(home, "git push origin y")


@pytest.mark.slow
def test_answers_in_a_batch(home: Path) -> None:
    put(home, "a", "b", "c")
    said = json.loads(astrid(home, "approvals", "allow", "--all", "--of", "alice", "--json"))
    assert [one["decision"] for one in said] == ["approve"] * 3
    assert waiting(home) == []
    first, second = put(home, "d", "e")
    astrid(home, "approvals", "deny", first, second)
    assert json.loads(astrid(home, "approvals", "deny", "--all", "--of", "alice", "--json")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("allow",),
        ("deny",),
        ("allow", "x"),
        ("allow", str(uuid.UUID(int=1))),
        ("allow", str(uuid.UUID(int=1)), "--all"),
        ("allow", "--all", "--once", "--always"),
        ("allow", "--all", "--scope", "x"),
        ("show", str(uuid.UUID(int=1))),
    ],
)
def test_what_makes_no_sense_is_refused(home: Path, arguments: tuple[str, ...]) -> None:
    astrid(home, "approvals", *arguments, status=1)


def test_a_session_needs_a_daemon(home: Path) -> None:
    (asked,) = put(home, "a")
    assert "astrid start" in astrid(home, "approvals", "allow", asked, "--session", status=1)
    assert len(waiting(home)) == 1


@pytest.mark.slow
def test_answer_denied_when_it_is_somebody_elses(home: Path) -> None:
    """T-15."""
    (asked,) = put(home, "a")
    astrid(home, "approvals", "allow", asked, who="mallory", status=1)
    astrid(home, "approvals", "list", "--of", "alice", who="mallory", status=1)
    astrid(home, "approvals", "show", asked, "--of", "alice", who="mallory", status=1)
    assert len(waiting(home)) == 1
    astrid(home, "approvals", "allow", asked, who="alice")
    assert waiting(home, "--everybody") == []


@pytest.mark.slow
def test_through_the_daemon() -> None:
    with short_directory() as directory:
        asyncio.run(_live(make_home(directory / "h")))


async def _live(home: Path) -> None:
    async with serving(home) as here:
        call = functools.partial(asyncio.to_thread)
        asked = await call(ask, here.kernel, "git push origin")
        run = functools.partial(astrid, home, "approvals")
        await call(functools.partial(run, "allow", str(uuid.UUID(int=1)), status=1))
        await call(functools.partial(run, "allow", str(asked), status=1, who="mallory"))
        assert len(here.kernel.approvals.pending()) == 1
        with await here.client("alice"):  # without any, the session would end with the command
            await call(functools.partial(run, "allow", str(asked), "--session", who="alice"))
            assert await call(_may, here, "git push other")
            assert not await call(_may, here, "git pull")


def _may(here: DaemonHere, resource: str) -> bool:
    ticket = here.kernel.approvals.request(ALICE, SHELL, "git push", resource=resource)
    try:
        here.kernel.approvals.wait(ticket, timeout_s=0)
    except ApprovalDeniedError:
        return False
    return True


@pytest.mark.slow
def test_a_person_attends(tmp_path: Path) -> None:
    """What waits first, then what comes; nobody attends without a terminal."""
    shell = Shell(tmp_path)
    make_home(shell.home)
    put(shell.home, "git push origin", "git pull")
    assert shell("start").status == 0
    shell.environ["ASTRID_PRINCIPAL"] = "alice"
    try:
        assert shell("approvals", "attend").status == 6
        with on_terminal(shell, "approvals", "attend") as (process, talk):
            first = talk(r"\[n\] no: ", "y\n")
            second = talk(r"\[n\] no: ", "n\n")
            assert {"git push origin" in first, "git pull" in first} == {True, False}
            assert "git push *" in first + second
            talk(r"waiting for questions")
            until = time.monotonic() + PATIENCE_S
            while shell("approvals", "list", "--json").json:
                assert time.monotonic() < until
            process.send_signal(signal.SIGINT)
            talk(None)
            assert process.wait(PATIENCE_S) == 130
        (row,) = shell("caps", "allowance", "list", "--json").json
        assert row["uses_remaining"] == 1
    finally:
        del shell.environ["ASTRID_PRINCIPAL"]
        shell("stop")
