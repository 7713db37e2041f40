"""Installed policies that misbehave, in a whole kernel: what they break, whom the audit log names.

What a policy may not be stops the boot; what it answers wrongly denies the action. Either way the
log has an entry with the name of its distribution.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, Row, entries
from astrid_core.pluginhost.dispatch import VoteCaller
from astrid_hookspecs.errors import PluginError, PolicyDeniedError
from astrid_hookspecs.values import NIL_SOURCE, Principal
from tests.support.daemon import install_tools, prepare
from tests.support.distributions import DistributionMaker, import_path

MALLORY = Principal("mallory")
DISTRIBUTION = "acme-probe"

HEADER = """
import threading
from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import Verdict, Vote
ALLOW = Vote(Verdict.ALLOW, "fine")
class Lying(Vote):
    pass
async def coroutine():
    return ALLOW
"""

AT_A_CALL = {
    "none": "return None",
    "true": "return True",
    "coroutine": "return coroutine()",
    "raises": "raise ValueError('password=hunter2')",
    "exits": "raise SystemExit(0)",
    "hangs": "threading.Event().wait(3); return ALLOW",
    "text": "return 'allow'",
    "subclass": "return Lying(Verdict.ALLOW, 'fine')",
}
"""What the policy does when it is asked about mallory."""

AT_BOOT = {
    "wraps": "@hookimpl(wrapper=True)\ndef astrid_authorize(request):\n    yield\n    return ALLOW",
    "wraps-the-old-way": "@hookimpl(hookwrapper=True)\ndef astrid_authorize(request):\n    yield",
    "goes-first": "@hookimpl(tryfirst=True)\ndef astrid_authorize(request):\n    return ALLOW",
    "coroutine": "@hookimpl\nasync def astrid_authorize(request):\n    return ALLOW",
    "generator": "@hookimpl\ndef astrid_authorize(request):\n    yield ALLOW",
    "default": "@hookimpl\ndef astrid_authorize(request=None):\n    return ALLOW",
    "unmarked": "def astrid_authorize(request):\n    return ALLOW",
    "raises": "raise RuntimeError('password=hunter2')",
}
"""The policy itself."""


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DistributionMaker]:
    monkeypatch.setitem(VoteCaller.__init__.__kwdefaults__, "limit_s", 0.3)  # type: ignore[index]
    with import_path(tmp_path / "site", monkeypatch) as made:
        yield made


def answering(what: str) -> str:
    return (
        f"{HEADER}\n@hookimpl\ndef astrid_authorize(request):\n"
        "    if request.principal != 'mallory':\n"
        "        return Vote(Verdict.ABSTAIN, 'nobody special')\n"
        f"    {what}\n"
    )


def denials(home: Path, **query: str) -> list[Row]:
    rows = entries(AuditPlaces(home / "var" / "audit"), Query(**query))
    return [row for row in rows if row["outcome"] == "denied"]


def asked_for_status(kernel: Kernel) -> None:
    kernel.clients.authorise(MALLORY, "GetStatus")


def published(kernel: Kernel) -> None:
    kernel.clients.publish(
        "notes.v1.note", kind="custom", payload=b"{}", principal=MALLORY, source_id=NIL_SOURCE
    )


def listened(kernel: Kernel) -> None:
    kernel.clients.subscribe("notes.v1.*", principal=MALLORY, deliver=lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("what", AT_A_CALL.values(), ids=AT_A_CALL)
def test_everything_denied_when_the_policy_answers_with_something_else(
    tmp_path: Path, maker: DistributionMaker, what: str
) -> None:
    home = tmp_path / "home"
    prepare(home, install_tools)
    (home / "etc" / "profiles" / "mallory.toml").write_text('groups = ["admin"]\n')
    maker("probe", answering(what), distribution=DISTRIBUTION)

    async def work(kernel: Kernel) -> None:
        with pytest.raises(PolicyDeniedError, match=DISTRIBUTION) as caught:
            await kernel.call_tool("echo", {"text": "x"}, principal=MALLORY)
        assert caught.value.rule == f"policy:{DISTRIBUTION}"
        for ask in (asked_for_status, published, listened):
            with pytest.raises(PolicyDeniedError, match=DISTRIBUTION):
                await asyncio.to_thread(ask, kernel)
        request = json.dumps({"method": "AgentList"}).encode()
        answer = await asyncio.to_thread(kernel.clients.admin.answer, MALLORY, "raw_json", request)
        assert DISTRIBUTION in answer.decode()
        (echo,) = [capsule for capsule in kernel.capsules() if capsule.id == "echo"]
        assert echo.stats()["calls"] == 0
        assert (await kernel.call_tool("echo", {"text": "x"})).content == "x"

    prepare(home, work)
    rows = denials(home, principal="mallory")
    assert {row["action"]["type"] for row in rows} == {
        "capsule.invoke",
        "kernel.request",
        "bus.publish",
    }
    assert all(row["authorization"]["reason"] == f"policy:{DISTRIBUTION}" for row in rows)
    assert "hunter2" not in str(rows)


@pytest.mark.parametrize("what", AT_BOOT.values(), ids=AT_BOOT)
def test_boot_denied_when_the_policy_breaks_the_contract(
    tmp_path: Path, maker: DistributionMaker, what: str
) -> None:
    home = tmp_path / "home"
    maker("probe", f"{HEADER}\n{what}\n", distribution=DISTRIBUTION)

    async def work(_: Kernel) -> None:
        pytest.fail("the kernel started")

    with pytest.raises(PluginError, match=DISTRIBUTION) as caught:
        prepare(home, work)
    (row,) = denials(home, action="kernel.boot")
    assert row["action"]["resource"] == DISTRIBUTION
    assert row["authorization"]["reason"] == f"plugin:{DISTRIBUTION}"
    assert row["action"]["error"] == caught.value.code
    assert "hunter2" not in str(row)
