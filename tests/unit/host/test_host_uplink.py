"""Front ends hand in what their users say. Spec: host-abi 15, vectors 123 and 124."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from astrid_core.host.people import People
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.values import Principal

UPLINK = "astrid:uplink/host@1.0.0"
IDENTITY = "astrid:identity/host@1.0.0"
Call = Callable[..., tuple[str, Any]]


class Bot:
    """A capsule that brings users of a platform; its run loop, unless told otherwise."""

    def __init__(self, world: Any, call: Call, **options: Any) -> None:
        self.world, self.call = world, call
        self.store = IdentityStore(world.kv)
        self.instance = world.open(
            **{
                "principal": "default",
                "uplink": True,
                "identity": ("link",),
                "has_inbound": True,
                "services": {"people": People(identities=self.store)},
                **options,
            }
        )
        self.heard = world.bus.subscribe("user.v1.prompt")

    def register(self, name: str = "bot", platform: str = " Chat ") -> tuple[str, Any]:
        return self.call(self.instance, "uplink-register", name, platform, "chat", interface=UPLINK)

    def send(self, uplink_id: str, account: str = "7", content: str = "hi") -> tuple[str, Any]:
        return self.call(
            self.instance, "uplink-send", uplink_id, account, content, interface=UPLINK
        )

    def link(self, user_id: str, account: str = "7") -> None:
        argument = ("chat", account, user_id, "pairing")
        done = self.call(self.instance, "identity-link", argument, interface=IDENTITY)
        assert done == ("ok", None)

    def said(self) -> list[tuple[str | None, str, Mapping[str, Any]]]:
        found = []
        while batch := self.heard.take(max_bytes=1 << 24).messages:
            for message in batch:
                payload = json.loads(message.payload)
                assert message.attribution is Attribution.CLAIMED
                found.append((message.principal, payload["text"], payload))
        return found


def test_123_registration(world: Any, call: Call) -> None:
    plain = Bot(world, call, uplink=False)
    assert plain.register() == ("capability-denied", None)
    assert plain.send(str(uuid.uuid4())) == ("capability-denied", None)
    assert [one.rule for one in world.decisions] == ["capabilities.uplink"] * 2
    bot = Bot(world, call)
    for name, platform in (
        (" ", "chat"), ("", "chat"), ("bot", " "), ("b\x00t", "chat"), ("bot", "ch\nat"),
        ("b" * 129, "chat"), ("bot", "c" * 129),
    ):  # fmt: skip
        assert bot.register(name, platform) == ("invalid-input", None)


def test_123_number_and_duplicates(world: Any, call: Call) -> None:
    numbers = iter(range(100))
    bot = Bot(
        world,
        call,
        services={
            "people": People(identities=IdentityStore(world.kv)),
            "random_bytes": lambda length: bytes([next(numbers)]) * length,
        },
    )
    assert all(bot.register(f"bot{number}")[0] == "ok" for number in range(31))
    assert bot.register("bot0", "chat") == ("invalid-input", None)
    assert bot.register("bot0", "other")[0] == "ok"
    assert bot.register("one-more") == ("quota", None)


def test_124_what_is_handed_in(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    assert bot.send("x") == ("invalid-input", None)
    assert bot.send("x" * 65) == ("invalid-input", None)
    assert bot.send(str(uuid.uuid4())) == ("unknown-uplink", None)
    for account in ("", " ", "7\n", "7" * 257):
        assert bot.send(mine, account) == ("invalid-input", None)
    assert bot.send(mine, content="x" * (1024 * 1024 + 1)) == ("invalid-input", None)
    assert bot.send(mine, content="é" * (1024 * 512 + 1)) == ("invalid-input", None)
    assert bot.send(mine, content='"' * (1024 * 1024)) == ("invalid-input", None)
    other = Bot(world, call)
    assert other.send(mine) == ("unknown-uplink", None)
    no_channel = Bot(world, call, has_inbound=False)
    assert no_channel.send(no_channel.register()[1]) == ("quota", None)


def test_124_what_nobody_is_known_for_waits_and_comes_out_in_order(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    sent = [bot.send(mine, content=str(number)) for number in range(129)]
    assert sent == [("ok", True)] * 128 + [("ok", False)]
    assert bot.said() == []
    bot.link(bot.store.create_user("Ann").id)
    said = bot.said()
    assert [(who, text) for who, text, _ in said] == [("ann", str(n)) for n in range(128)]
    assert said[0][2]["session_id"] == "chat:7"
    assert said[0][2]["context"] == {
        "uplink_id": mine,
        "uplink": "bot",
        "platform": "chat",
        "platform_user_id": "7",
        "profile": "chat",
    }
    assert bot.send(mine, content="now") == ("ok", True)
    assert [text for _, text, _ in bot.said()] == ["now"]
    assert [entry.action for entry in world.audited].count("uplink.send") == 130


def test_what_waits_is_bounded_in_bytes(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    sent = [bot.send(mine, content="x" * 1024 * 1000)[1] for _ in range(12)]
    assert sent == [True] * 8 + [False] * 4
    assert bot.send(mine, content="a little more") == ("ok", True)


def test_an_account_speaks_for_its_user_only(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    bot.link(bot.store.create_user("Ann").id, "7")
    bot.link(bot.store.create_user("Bob").id, "8")
    for account in ("7", "8", "9", "a/b"):
        assert bot.send(mine, account) == ("ok", True)
    assert [who for who, _, _ in bot.said()] == ["ann", "bob"]


def test_words_denied_when_they_would_be_somebody_elses(world: Any, call: Call) -> None:
    bot = Bot(world, call, principal="bob")
    mine = bot.register()[1]
    bot.link(bot.store.create_user("Ann").id)
    assert bot.send(mine) == ("capability-denied", None)
    assert world.decisions[-1].rule == "claim.principal"
    assert bot.said() == []
    bob = Bot(world, call, principal="ann")
    assert bob.send(bob.register()[1]) == ("ok", True)


@pytest.mark.parametrize("state", ["disabled", "damaged"])
def test_words_denied_when_their_principal_is_off(world: Any, call: Call, state: str) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    bot.link(bot.store.create_user("Ann").id)
    getattr(world, state).add("ann")
    assert bot.send(mine) == ("capability-denied", None)
    assert bot.said() == []


def test_words_denied_when_a_policy_says_so(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    bot.store.link("chat", "7", bot.store.create_user("Ann").id, method="m")
    world.votes = [Vote(Verdict.DENY, "quiet hours", "quiet")]
    strict = Bot(world, call)
    assert strict.register() == ("capability-denied", None)


def test_too_much_at_once_is_not_taken(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    bot.link(bot.store.create_user(Principal("Ann")).id)
    world.quotas.max_ipc_throughput_bytes = 400
    assert [bot.send(mine)[1] for _ in range(4)] == [True, True, False, False]


def test_what_waits_is_refused_alone_and_waits_for_its_turn(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    for account in ("7", "8", "8"):
        assert bot.send(mine, account, account) == ("ok", True)
    ann, bob = bot.store.create_user("Ann").id, bot.store.create_user("Bob").id
    world.disabled.add("ann")
    bot.link(ann, "7")  # what Ann said is refused; linking is not
    assert world.decisions[-1].rule == "profile.enabled"
    world.quotas.max_ipc_throughput_bytes = 250  # one at a time
    bot.link(bob, "8")
    assert [text for _, text, _ in bot.said()] == ["8"]
    assert bot.send(mine, "8", "behind") == ("ok", True)
    assert bot.said() == []
    world.clock.offset += 2
    world.quotas.max_ipc_throughput_bytes = 10_000
    assert bot.send(mine, "8", "last") == ("ok", True)
    assert [text for _, text, _ in bot.said()] == ["8", "behind", "last"]


def test_a_short_message_does_not_overtake_a_long_one(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    for content in ("first" * 100, "second"):
        assert bot.send(mine, "8", content) == ("ok", True)
    world.quotas.max_ipc_throughput_bytes = 300  # the second one fits, the first does not
    bot.link(bot.store.create_user("Bob").id, "8")
    assert bot.said() == []
    world.quotas.max_ipc_throughput_bytes = 10_000
    assert bot.send(mine, "8", "third") == ("ok", True)
    assert [text for _, text, _ in bot.said()] == ["first" * 100, "second", "third"]


def test_what_waits_is_still_there_when_the_store_fails_half_way(
    world: Any, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    for account in ("7", "8", "9"):
        assert bot.send(mine, account, account) == ("ok", True)
    bob = bot.store.create_user("Bob").id
    for account in ("7", "8", "9"):
        bot.store.link("chat", account, bob, method="pairing")
    known = bot.store.account

    def account_of(platform: str, account: str) -> Any:
        if account == "8":
            raise StoreError("the disk is full")
        return known(platform, account)

    monkeypatch.setattr(bot.store, "account", account_of)
    assert bot.send(mine, "7", "late")[0] == "unknown"
    monkeypatch.undo()
    assert bot.send(mine, "7", "later") == ("ok", True)
    assert [text for _, text, _ in bot.said()] == ["7", "8", "9", "later"]


def test_without_a_store_it_waits(world: Any, call: Call) -> None:
    bot = Bot(world, call, services={})
    assert bot.send(bot.register()[1]) == ("ok", True)


def test_nothing_happens_that_is_not_on_record(world: Any, call: Call) -> None:
    bot = Bot(world, call)
    mine = bot.register()[1]
    world.audit_fails = True
    assert bot.register("another")[0] == "unknown"
    assert bot.send(mine)[0] == "unknown"
