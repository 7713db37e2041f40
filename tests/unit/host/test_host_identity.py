"""Users and their accounts, from guests. Spec: host-abi 8, vectors 121 and 122."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from astrid_core.host import services
from astrid_core.host.people import People
from astrid_core.kernel.principals.identity import IdentityStore

IDENTITY = "astrid:identity/host@1.0.0"
NOBODY = str(uuid.UUID(int=1))
FUNCTIONS: dict[str, Any] = {
    "identity-resolve": ("discord", "7"),
    "identity-link": ("discord", "7", NOBODY, "code"),
    "identity-unlink": ("discord", "7"),
    "identity-create-user": ("Ann",),
    "identity-list-links": NOBODY,
}
LEVELS = {
    "identity-resolve": "resolve",
    "identity-link": "link",
    "identity-unlink": "link",
    "identity-list-links": "link",
    "identity-create-user": "admin",
}
ORDER = ["resolve", "link", "admin"]


class Guest:
    def __init__(
        self, world: Any, call: Callable[..., tuple[str, Any]], *levels: str, **options: Any
    ) -> None:
        self.store = IdentityStore(world.kv)
        self._call = call
        self._instance = world.open(
            identity=levels, services={"people": People(identities=self.store)}, **options
        )

    def __call__(self, function: str, argument: object) -> tuple[str, Any]:
        return self._call(self._instance, f"identity-{function}", argument, interface=IDENTITY)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("held", [(), ("resolve",), ("link",), ("admin",), ("nonsense",)])
def test_121_levels(
    world: Any, call: Callable[..., tuple[str, Any]], function: str, held: tuple[str, ...]
) -> None:
    guest = Guest(world, call, *held)
    case, _ = guest(function.removeprefix("identity-"), FUNCTIONS[function])
    is_enough = held[0:1] != () and held[0] in ORDER[ORDER.index(LEVELS[function]) :]
    assert (case != "capability-denied") is is_enough
    assert [entry.action for entry in world.audited] == (
        [f"identity.{function.removeprefix('identity-')}"] if is_enough else []
    )
    assert [decision.rule for decision in world.decisions] == (
        [] if is_enough else [f"identity:{LEVELS[function]}"]
    )


def test_121_what_is_no_id_is_found_out_first(
    world: Any, call: Callable[..., tuple[str, Any]]
) -> None:
    guest = Guest(world, call)
    for text in ("x", "", NOBODY + "0", NOBODY.replace("-", ""), f"{{{NOBODY}}}"):
        assert guest("list-links", text) == ("invalid-input", None)
        assert guest("link", ("discord", "7", text, "m")) == ("invalid-input", None)
    assert guest("list-links", NOBODY) == ("capability-denied", None)


def test_122_links(world: Any, call: Callable[..., tuple[str, Any]]) -> None:
    guest = Guest(world, call, "admin")
    ann = guest("create-user", ("Ann",))[1].user_id
    bob = guest("create-user", ("Bob",))[1].user_id
    assert guest("link", (" Discord ", "7", ann.upper(), "code")) == ("ok", None)
    assert guest("resolve", ("discord", "7")) == ("ok", (ann, "Ann"))
    assert guest("resolve", ("discord", "8")) == ("link-not-found", None)
    assert guest("link", ("discord", "7", bob, "code")) == ("already-linked", None)
    assert guest("resolve", ("discord", "7")) == ("ok", (ann, "Ann"))
    assert guest("link", ("discord", "7", ann, "again")) == ("ok", None)
    assert guest("link", ("a-b", "1", ann, "m")) == ("ok", None)
    assert guest("link", ("a", "2", ann, "m")) == ("ok", None)
    found = guest("list-links", ann)[1]
    assert [one[:2] for one in found] == [("a", "2"), ("a-b", "1"), ("discord", "7")]
    assert (found[2].method, found[2].linked_at[-1]) == ("again", "Z")
    assert guest("list-links", NOBODY) == ("user-not-found", None)
    assert guest("link", ("discord", "9", NOBODY, "m")) == ("user-not-found", None)
    assert guest("unlink", ("DISCORD", "7")) == ("ok", None)
    assert guest("unlink", ("discord", "7")) == ("link-not-found", None)


def test_a_capsule_that_makes_too_many_users_and_links_is_refused(
    world: Any, call: Callable[..., tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_IDENTITY_RECORDS", 3)
    guest = Guest(world, call, "admin")
    user = guest("create-user", ("Ann",))[1].user_id
    cases = [guest("link", ("discord", str(number), user, "code"))[0] for number in range(3)]
    assert cases == ["ok", "ok", "unknown"]
    assert guest("create-user", ("Ben",))[0] == "unknown"
    assert [decision.rule for decision in world.decisions] == ["identity.records"] * 2
    assert len(guest.store.links(user)) == 2
    assert guest("resolve", ("discord", "1"))[0] == "ok", "looking is free"


def test_a_link_to_a_user_that_is_gone(world: Any, call: Callable[..., tuple[str, Any]]) -> None:
    guest = Guest(world, call, "admin")
    ann = guest("create-user", ("Ann",))[1].user_id
    guest("link", ("discord", "7", ann, "m"))
    guest.store._kv.delete("system:identity", f"user/{ann}")  # as an older runtime leaves it
    assert guest("resolve", ("discord", "7")) == ("user-not-found", None)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("resolve", ("", "7")),
        ("resolve", ("  ", "7")),
        ("resolve", ("a/b", "7")),
        ("resolve", ("a", "")),
        ("resolve", ("a", "7/8")),
        ("resolve", ("a\x00", "7")),
        ("unlink", ("a", "7\x1b")),
        ("unlink", ("ü" * 129, "7")),
        ("link", ("a", "7", NOBODY, " ")),
        ("link", ("a", "7", NOBODY, "m" * 257)),
        ("create-user", ("a/b",)),
        ("create-user", ("a\n",)),
        ("create-user", ("default",)),
        ("create-user", ("Default",)),
    ],
)
def test_fields_that_cannot_be(
    world: Any, call: Callable[..., tuple[str, Any]], function: str, argument: tuple[str, ...]
) -> None:
    assert Guest(world, call, "admin")(function, argument) == ("invalid-input", None)


def test_nobody_becomes_another_user(world: Any, call: Callable[..., tuple[str, Any]]) -> None:
    guest = Guest(world, call, "admin")
    assert guest("create-user", ("Ann",))[0] == "ok"
    assert guest("create-user", ("ann",)) == ("invalid-input", None)
    first, second = (guest("create-user", (None,))[1].user_id for _ in range(2))
    assert first != second


def test_nothing_happens_that_is_not_on_record(
    world: Any, call: Callable[..., tuple[str, Any]]
) -> None:
    guest = Guest(world, call, "admin")
    world.audit_fails = True
    assert guest("create-user", ("Ann",))[0] == "unknown"
    assert guest.store.users() == []


def test_without_a_store_or_with_one_that_fails(
    world: Any, call: Callable[..., tuple[str, Any]]
) -> None:
    alone = world.open(identity=("admin",))
    for function, argument in FUNCTIONS.items():
        got = call(alone, function, argument, interface=IDENTITY)
        assert got == ("store-unavailable", None)
    guest = Guest(world, call, "admin")
    world.kv.close()
    assert guest("resolve", ("a", "7")) == ("store-unavailable", None)
