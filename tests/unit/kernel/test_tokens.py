"""The token store. Spec: kernel-and-security 7.2, vectors 101, 109, 110."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.capability_token import Caveat, Scope, SignedToken, TokenError
from astrid_core.domain.resource_pattern import PatternError
from astrid_core.kernel.tokens import MAX_PER_PRINCIPAL, TOKENS, TokenStore, right_resource
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.management import Trail

ALICE, BOB = Principal("alice"), Principal("bob")
FILE = "file:///srv/a"


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.now = 1_700_000_000.0
        self.trail = Trail()
        self.kv = SqliteKvStore(directory)
        self.store = self.make()

    def make(self, *, seed: bytes = bytes(32)) -> TokenStore:
        return TokenStore(self.kv, seed=seed, audit=self.trail, now=lambda: self.now)

    def restart(self) -> None:
        self.kv.close()
        self.kv = SqliteKvStore(self.directory)
        self.store = self.make()

    def minted(
        self,
        *,
        principal: Principal = ALICE,
        life_s: int | None = 60,
        scope: Scope = "persistent",
        single_use: bool = False,
    ) -> SignedToken:
        made = self.store.mint(
            principal,
            "file:///srv/**",
            ["read"],
            by=DEFAULT_PRINCIPAL,
            life_s=life_s,
            scope=scope,
            single_use=single_use,
        )
        self.store.add(made)
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "kv")
    yield made
    made.kv.close()


def refused(code: str, act: Callable[[], object]) -> None:
    with pytest.raises(TokenError) as caught:
        act()
    assert caught.value.code == f"token.{code}"


@pytest.mark.parametrize("scope", ["session", "persistent"])
def test_a_token_is_found_by_its_principal_for_what_it_covers(world: World, scope: Scope) -> None:
    made = world.minted(scope=scope)
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    assert found.signed == made
    world.store.use(found)
    world.store.use(found)
    assert world.store.find(BOB, FILE, "read") is None
    assert world.store.find(ALICE, FILE, "write") is None
    assert world.store.find(ALICE, "file:///etc/a", "read") is None
    assert world.store.find(ALICE, "file:///srv/../etc/a", "read") is None
    assert world.store.usable(ALICE) == [made]
    assert world.store.usable() == [made]
    assert world.store.usable(BOB) == []


def test_what_is_kept_survives_a_restart_and_a_session_does_not(world: World) -> None:
    made = world.minted()
    world.minted(scope="session")
    narrow = made.attenuate(Caveat(resource="*.txt"))
    world.store.add(narrow)
    world.restart()
    assert sorted(world.store.usable(), key=lambda one: len(one.caveats)) == [made, narrow]


def test_101_an_end_is_an_end_for_finding_and_using(world: World) -> None:
    world.minted(life_s=60)
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    world.now += 60
    assert world.store.find(ALICE, FILE, "read") is None
    refused("expired", lambda: world.store.use(found))
    assert world.store.clean() == 1
    assert world.store.clean() == 0
    world.minted(life_s=None)
    world.now += 10**9
    assert world.store.clean() == 0


@pytest.mark.parametrize("scope", ["session", "persistent"])
def test_109_a_token_for_one_use_is_used_once(world: World, scope: Scope) -> None:
    made = world.minted(single_use=True, scope=scope)
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    world.store.use(found)
    refused("used", lambda: world.store.use(found))
    assert world.store.find(ALICE, FILE, "read") is None
    world.restart()
    world.store.add(made)
    assert world.store.find(ALICE, FILE, "read") is None


def test_109_of_many_users_at_once_one_is_first(world: World) -> None:
    world.minted(single_use=True)
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    start, wins = threading.Barrier(8), []

    def use() -> None:
        start.wait()
        try:
            world.store.use(found)
        except TokenError:
            return
        wins.append(1)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins == [1]


def test_tokens_derived_from_one_for_one_use_share_that_use(world: World) -> None:
    made = world.store.mint(
        ALICE, "file:///srv/**", ["read"], by=DEFAULT_PRINCIPAL, life_s=60, single_use=True
    )
    for suffix in ("*a", "*"):
        world.store.add(made.attenuate(Caveat(resource=suffix)))
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    world.store.use(found)
    assert world.store.find(ALICE, FILE, "read") is None


def test_a_token_for_many_uses_is_preferred(world: World) -> None:
    world.minted(single_use=True)
    lasting = world.minted()
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    assert found.signed == lasting


@pytest.mark.parametrize("scope", ["session", "persistent"])
def test_110_what_is_revoked_stays_revoked(world: World, scope: Scope) -> None:
    made = world.minted(scope=scope)
    narrow = made.attenuate(Caveat(resource="*.txt"))
    world.store.add(narrow)
    found = world.store.find(ALICE, FILE, "read")
    assert found is not None
    assert world.store.revoke(made.token.id, by=DEFAULT_PRINCIPAL, reason="lost") is True
    refused("revoked", lambda: world.store.use(found))
    assert world.store.usable() == []
    for _ in range(2):
        for one in (made, narrow):
            refused("revoked", lambda one=one: world.store.add(one))
        assert world.store.find(ALICE, FILE, "read") is None
        world.restart()
    assert world.store.revoke(made.token.id, by=DEFAULT_PRINCIPAL) is False
    assert world.store.revoke(uuid.uuid4(), by=DEFAULT_PRINCIPAL) is False


def test_a_session_is_forgotten_by_principal(world: World) -> None:
    world.minted(scope="session")
    bobs = world.minted(scope="session", principal=BOB)
    world.store.forget_session(ALICE)
    assert world.store.usable() == [bobs]
    world.store.forget_session()
    assert world.store.usable() == []


def test_tokens_of_another_key_or_hand_are_worth_nothing(world: World) -> None:
    made = world.store.mint(ALICE, "file://*", ["read"], by=DEFAULT_PRINCIPAL, life_s=None)
    world.store = world.make(seed=bytes(range(32)))
    refused("signature", lambda: world.store.add(made))
    assert bytes(SigningKey(bytes(32)).verify_key) == made.token.issuer


def test_a_token_is_handed_to_its_principal_alone(world: World) -> None:
    made = world.store.mint(ALICE, "file:///srv/**", ["read"], by=DEFAULT_PRINCIPAL, life_s=None)
    narrow = made.attenuate(Caveat(resource="*.txt"))
    refused("signature", lambda: world.store.add_text(narrow.to_text(), principal=BOB))
    assert world.store.add_text(narrow.to_text(), principal=ALICE) == narrow
    assert world.store.find(ALICE, "file:///srv/a.txt", "read") is not None
    assert world.store.find(ALICE, "file:///srv/a.bin", "read") is None


def test_a_damaged_record_allows_nothing_and_hides_no_other(world: World) -> None:
    made = world.minted()
    for number, value in enumerate((b"{", b"astrid-token-1.x", b"\xff", b"{}")):
        world.kv.apply(TOKENS, [KvWrite(f"alice/{number}", value)])
    assert world.store.usable(ALICE) == [made]


def test_what_is_made_and_revoked_is_recorded_first(world: World) -> None:
    made = world.minted()
    world.store.revoke(made.token.id, by=BOB, reason="lost")
    assert [(entry.action, entry.principal) for entry in world.trail.entries] == [
        ("capability_created", "default"),
        ("capability_revoked", "bob"),
    ]
    assert made.proof.hex() not in str(world.trail.entries)
    kept = world.minted()
    world.trail.is_full = True
    with pytest.raises(AuditError):
        world.minted()
    with pytest.raises(AuditError):
        world.store.revoke(kept.token.id, by=BOB)
    assert world.store.usable() == [kept]


@pytest.mark.parametrize("life_s", [0, -1, 366 * 86_400 + 1])
def test_a_token_has_a_life_and_a_purpose(world: World, life_s: int) -> None:
    refused("life", lambda: world.minted(life_s=life_s))
    refused(
        "permissions",
        lambda: world.store.mint(ALICE, "file://*", [], by=DEFAULT_PRINCIPAL, life_s=None),
    )
    for resource in ("[", "file://[", "*", "*://x", "[r]ight://*", "{right,x}://*", "x"):
        with pytest.raises(PatternError):
            world.store.mint(ALICE, resource, ["read"], by=DEFAULT_PRINCIPAL, life_s=None)


@pytest.mark.slow
def test_a_principal_has_so_many_tokens_and_no_more(world: World) -> None:
    short = world.minted(life_s=10)
    base = world.minted(life_s=None)

    def derived(number: int) -> SignedToken:
        return base.attenuate(Caveat(resource=f"file:///srv/{number}"))

    for number in range(MAX_PER_PRINCIPAL - 2):
        world.store.add(derived(number))
    refused("too-many", lambda: world.store.add(derived(-1)))
    refused("too-many", lambda: world.minted(scope="session"))
    world.store.add(derived(0))  # it is here already
    world.minted(principal=BOB)
    world.now += 10  # the first one ends and makes room
    world.store.add(derived(-1))
    assert short not in world.store.usable(ALICE)
    assert len(world.store.usable(ALICE)) == MAX_PER_PRINCIPAL
    assert world.store.revoke(base.token.id, by=DEFAULT_PRINCIPAL)
    assert world.store.usable(ALICE) == []
    assert world.minted() in world.store.usable(ALICE)


def test_rights_are_resources() -> None:
    assert right_resource("system:status") == "right://system:status"
