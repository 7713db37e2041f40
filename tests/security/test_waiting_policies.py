"""A policy that takes its time: who is not waiting for it is served."""

# ruff: noqa: ARG001 - hook implementations take what the specification names

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from astrid_core.pluginhost.dispatch import VoteCaller
from astrid_hookspecs import hookimpl
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from tests.support.daemon import Client, install_tools, short_directory
from tests.support.daemon_here import serving

EVENT = {"type": "custom", "data": 1}
CALL = {
    "type": "raw_json",
    "method": "CallTool",
    "params": {"name": "echo", "arguments": {"text": "x"}},
    "request_id": "c",
}


class Slow:
    """Says yes to everybody, but to `mallory` only when it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def hold(self) -> None:
        """Wait with the next vote about mallory."""
        self.asked.clear()
        self.let_go.clear()

    @hookimpl
    def astrid_authorize(self, request: AuthzRequest) -> Vote:
        if request.principal == "mallory":
            self.asked.set()
            self.let_go.wait(30)
        return Vote(Verdict.ALLOW, "fine", "slow")


@pytest.fixture
def run() -> Iterator[Callable[..., None]]:
    with short_directory() as directory:
        home = directory / "h"

        def runner(work: Callable[[Client, Client], Awaitable[None]], policy: Slow) -> None:
            async def main() -> None:
                async with serving(home, plugins=[policy], before=install_tools) as here:
                    profile = home / "etc/profiles/mallory.toml"
                    profile.write_text('groups = ["agent"]\ngrants = ["self:agent:list"]\n')
                    try:
                        with (
                            await here.client("mallory") as slow,
                            await here.client("alice") as other,
                        ):
                            await work(slow, other)
                    finally:
                        policy.let_go.set()

            asyncio.run(main())

        yield runner


FRAMES = [
    ("user.v1.prompt", EVENT),
    ("astrid.v1.request.x", CALL),
    ("astrid.v1.request.x", {"type": "raw_json", "method": "ListTools"}),
    (
        "astrid.v1.request.x",
        {"type": "raw_json", "method": "Subscribe", "params": {"pattern": "a.*"}},
    ),
    ("astrid.v1.admin.agent.list", {"type": "raw_json", "method": "AgentList"}),
]


def test_who_waits_for_nothing_is_served(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VoteCaller.__init__, "__kwdefaults__", {"limit_s": 30.0})
    policy = Slow()

    async def work(slow: Client, other: Client) -> None:
        for topic, payload in FRAMES:
            policy.hold()
            slow.send(topic, payload)
            assert await asyncio.to_thread(policy.asked.wait, 10)
            for number in range(3):
                answer = await asyncio.to_thread(other.call, "echo", {"text": str(number)})
                assert answer["data"]["content"] == str(number)
            slow.socket.setblocking(False)
            with pytest.raises(BlockingIOError):  # it is still not decided
                slow.socket.recv(1, socket.MSG_PEEK)
            slow.socket.settimeout(10)
            policy.let_go.set()
            if topic != "user.v1.prompt":
                message = await asyncio.to_thread(slow.receive)
                assert message is not None
                assert message["payload"]["status"] != "Error"

    run(work, policy)


def test_frames_of_one_client_are_decided_in_their_order(run: Callable[..., None]) -> None:
    policy = Slow()

    async def work(slow: Client, other: Client) -> None:
        policy.let_go.set()
        answer = await asyncio.to_thread(
            slow.ask, "Subscribe", params={"pattern": "user.v1.prompt"}
        )
        assert answer["status"] == "Success"
        policy.hold()
        for number in range(5):
            slow.send("user.v1.prompt", {"type": "custom", "data": number})
        assert await asyncio.to_thread(policy.asked.wait, 10)
        policy.let_go.set()
        for number in range(5):
            message = await asyncio.to_thread(slow.receive)
            assert message is not None
            assert message["payload"] == number
        answer = await asyncio.to_thread(slow.call, "echo", {"text": "last"})
        assert answer["data"]["content"] == "last"

    run(work, policy)
