"""A guest calls every function of `approval`, `elicit`, `identity` and `uplink`, and meets people.

A real component, built from `tests/support/people_probe.py`, in a whole kernel.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.domain.payload import decode
from astrid_core.domain.payload_variants import ElicitRequest
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.errors import AstridError, GuestTrapError
from astrid_hookspecs.values import NIL_SOURCE, Principal
from tests.support.capsules import eventually
from tests.support.people_probe import MANIFEST
from tests.support.probe import probe_home, probe_project
from tests.support.secrets import Vault, VaultPlugin

pytestmark = pytest.mark.slow
ALL = 'uplink = true\nidentity = ["admin"]'
UPLINK = '\n[[uplink]]\nname = "bot"\nplatform = "chat"\nprofile = "chat"\n'
WORD = "correct horse battery"


class World:
    """A kernel with the probe, and a person who answers."""

    def __init__(self, kernel: Kernel, vault: Vault, base: Path) -> None:
        self.kernel, self.vault, self.base = kernel, vault, base
        self.asked: list[ElicitRequest] = []

    def answer_hooks(self, given: Mapping[str, Mapping[str, Any]]) -> Callable[[], None]:
        """Answer what install hooks ask, from a thread of its own each time."""
        loop = asyncio.get_running_loop()

        def hear(envelope: Any) -> None:
            asked = decode(envelope.kind, envelope.payload)
            assert isinstance(asked, ElicitRequest)
            self.asked.append(asked)
            reply = given.get(asked.field.key)
            if reply is not None:
                loop.call_soon_threadsafe(
                    lambda: loop.run_in_executor(None, self.say, str(asked.request_id), reply)
                )

        return self.kernel.clients.listen("astrid.v1.elicit", hear)

    def say(self, request_id: str, given: Mapping[str, Any], *, who: str = "default") -> None:
        payload = {"type": "elicit_response", "request_id": request_id, **given}
        self.kernel.clients.publish(
            f"astrid.v1.elicit.response.{request_id}",
            kind="elicit_response",
            payload=json.dumps(payload).encode(),
            principal=Principal(who),
            source_id=NIL_SOURCE,
        )

    async def install(self, name: str, *, asks: bool = False, rights: str = "") -> None:
        text = MANIFEST.format(name=name, capabilities=rights, asks="yes" if asks else "no")
        project = probe_project(self.base / name, text + (UPLINK if "uplink" in rights else ""))
        with self.kernel.build(project) as built, self.kernel.stage(built.directory) as staged:
            await self.kernel.install(staged)

    async def do(self, capsule: str, act: str, *arguments: Any, who: str = "default") -> Any:
        result = await self.kernel.call_tool(
            f"{capsule}.people", {"act": act, "arguments": list(arguments)}, principal=who
        )
        found = json.loads(result.content)
        return found["got"] if "got" in found else f"refused: {found['refused']}"

    def record(self, principal: str = "default") -> list[dict[str, Any]]:
        places = AuditPlaces(self.base / "home" / "var/audit")
        return list(entries(places, Query(principal=principal)))


Work = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Work], None]:
    home = probe_home(tmp_path_factory, tmp_path / "home")

    def runner(work: Work) -> None:
        async def main() -> None:
            plugin = VaultPlugin()
            async with Kernel.open(home=home, plugins=[plugin]) as kernel:
                await work(World(kernel, plugin.vault, tmp_path))

        asyncio.run(main())

    return runner


def test_an_install_hook_asks_and_the_secret_stays_out_of_its_hands(
    run: Callable[[Work], None],
) -> None:
    async def work(world: World) -> None:
        stop = world.answer_hooks(
            {
                "name": {"value": "Ann"},
                "region": {"value": "us"},
                "hosts": {"values": ["x", "y"]},
                "token": {"value": WORD},
            }
        )
        heard = world.kernel.subscribe("**")
        await world.install("asker", asks=True)
        stop()
        assert [one.field.key for one in world.asked] == ["name", "region", "hosts", "token"]
        result = await world.kernel.call_tool("asker.answers", {})
        assert result.json() == {
            "name": "Ann", "region": "us", "hosts": ["x", "y"], "has": True, "token": len(WORD)
        }  # fmt: skip
        assert world.vault.values == {("default/asker", "token"): WORD.encode()}
        for batch in iter(lambda: heard.take(max_bytes=1 << 20).messages, ()):
            assert all(WORD.encode() not in one.payload for one in batch)
        assert WORD not in json.dumps(world.record(), default=str)
        assert await world.do("asker", "has_secret", "token") is True
        assert await world.do("asker", "has_secret", "token", who="alice") is False
        assert await world.do("asker", "text", "name") == "refused: not-in-lifecycle"
        assert await world.do("asker", "has_secret", "a:b") == "refused: invalid-input"

    run(work)


@pytest.mark.parametrize("missing", ["hosts", "token"])
def test_a_hook_without_an_answer_installs_nothing(
    run: Callable[[Work], None], missing: str
) -> None:
    given: dict[str, dict[str, Any]] = {
        "name": {"value": "Ann"},
        "region": {"value": "eu"},
        "hosts": {"values": []},
        "token": {"value": WORD},
    }
    given[missing] = {}

    async def work(world: World) -> None:
        world.answer_hooks(given)
        with pytest.raises(GuestTrapError):
            await world.install("asker", asks=True)
        assert world.kernel.capsules() == []
        assert world.vault.values == {}  # what the hook had stored is taken back

    run(work)


def test_a_failing_hook_takes_its_secret_back(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        world.vault.values["default/asker", "token"] = b"before"
        world.answer_hooks(
            {"name": {"value": "A"}, "region": {"value": "nowhere"}, "token": {"value": WORD}}
        )
        with pytest.raises(GuestTrapError):
            await world.install("asker", asks=True)
        assert world.vault.values == {("default/asker", "token"): b"before"}

    run(work)


def test_hook_answer_denied_when_another_principal_gives_it(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        refused: list[str] = []

        def steal(envelope: Any) -> None:
            asked = json.loads(envelope.payload)
            try:
                world.say(asked["request_id"], {"value": "forged"}, who="mallory")
            except AstridError as error:
                refused.append(error.code)

        world.kernel.clients.listen("astrid.v1.elicit", steal)
        world.answer_hooks(
            {
                "name": {"value": "Ann"},
                "region": {"value": "us"},
                "hosts": {"values": []},
                "token": {"value": WORD},
            }
        )
        await world.install("asker", asks=True)
        assert refused == ["elicit.not-found"] * 4
        assert (await world.kernel.call_tool("asker.answers", {})).json()["name"] == "Ann"

    run(work)


async def decide(world: World, decision: str, *, who: str = "alice") -> None:
    await eventually(lambda: world.kernel.approvals.pending(Principal(who)) != [])
    (question,) = world.kernel.approvals.pending(Principal(who))
    await asyncio.to_thread(world.kernel.approvals.answer, question.id, decision, by=Principal(who))


def test_approvals(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.install("asker")
        for decision, expected in (
            ("approve", "approved"),
            ("deny", "denied"),
            ("approve_session", "approved-session"),
        ):
            asking = asyncio.create_task(
                world.do("asker", "approve", "git push", "git push x", who="alice")
            )
            await decide(world, decision)
            assert await asking == expected
        do = world.do
        assert await do("asker", "approve", "git push", "git push y", who="alice") == "allowance"
        assert await do("asker", "approve", "a" * 257, "") == "refused: invalid-input"
        asking = asyncio.create_task(do("asker", "approve", "git push", "git push x", who="bob"))
        await decide(world, "deny", who="bob")
        assert await asking == "denied"
        asking = asyncio.create_task(do("asker", "approve", "pay", "", who="alice"))
        await eventually(lambda: world.kernel.approvals.pending(Principal("alice")) != [])
        (question,) = world.kernel.approvals.pending(Principal("alice"))
        world.kernel.approvals.put_off(question.id, by=Principal("alice"))
        assert await asking == "refused: timeout"
        kinds = [row["action"]["type"] for row in world.record("alice")]
        assert kinds.count("approval.answer") == 3
        assert kinds.count("approval.use") == 1

    run(work)


def test_identities_and_front_ends(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.install("front", rights=ALL)
        await world.install("plain")
        do = world.do
        ann = await do("front", "create_user", "Ann")
        assert await do("front", "link", "Chat", "7", ann) is None
        assert await do("front", "resolve", "chat", "7") == [ann, "Ann"]
        assert await do("front", "resolve", "chat", "8") is None
        assert [one[:2] for one in await do("front", "links", ann)] == [["chat", "7"]]
        bob = await do("front", "create_user", "Bob")
        assert await do("front", "link", "chat", "7", bob) == "refused: already-linked"
        bot = await do("front", "register", "bot", "chat")
        said = world.kernel.subscribe("user.v1.prompt")
        assert await do("front", "send", bot, "7", "hello") is True
        await eventually(said.is_ready)
        (message,) = said.take(max_bytes=1 << 16).messages
        assert (message.principal, json.loads(message.payload)["text"]) == ("ann", "hello")
        assert await do("front", "register", "bot", "chat") == "refused: invalid-input"
        assert await do("front", "send", "x", "7", "hello") == "refused: invalid-input"
        assert await do("front", "unlink", "chat", "7") is True
        assert await do("front", "unlink", "chat", "7") is False
        for act, *arguments in (
            ("create_user", "Eve"),
            ("link", "chat", "9", ann),
            ("unlink", "chat", "9"),
            ("links", ann),
            ("resolve", "chat", "7"),
            ("register", "bot", "chat"),
            ("send", bot, "7", "hello"),
        ):
            assert await do("plain", act, *arguments) == "refused: capability-denied", act
        kinds = [row["action"]["type"] for row in world.record()]
        assert {"identity.link", "identity.create-user", "uplink.register", "uplink.send"} <= set(
            kinds
        )

    run(work)
