"""What holds for good rests on a token. Spec: kernel-and-security 16 D-43."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.action import CapsuleRequest
from astrid_core.domain.allowance import Allowance
from astrid_core.domain.allowance_pattern import CapsuleCommand
from astrid_core.kernel.allowances import ALLOWANCES, AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_core.kernel.tokens import TokenStore
from astrid_core.kernel.warrants import Warrants
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal
from tests.support.management import Trail

ALICE, SHELL = Principal("alice"), CapsuleId("shell")
WANTED = CapsuleRequest("shell", "git push", "git push x")


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trail = Trail()
        self.start()

    def start(self) -> None:
        self.kv = SqliteKvStore(self.directory)
        self.tokens = TokenStore(self.kv, seed=b"k" * 32, audit=self.trail)
        self.allowances = AllowanceStore(self.kv, warrants=Warrants(self.tokens))
        self.approvals = Approvals(
            self.kv,
            allowances=self.allowances,
            audit=self.trail,
            announce=lambda _question: None,
        )

    def restart(self) -> None:
        self.kv.close()
        self.start()

    def says(self, decision: str) -> uuid.UUID:
        ticket = self.approvals.request(ALICE, SHELL, "git push", resource="git push x")
        self.approvals.answer(ticket.question.id, decision, by=DEFAULT_PRINCIPAL)
        return ticket.question.id

    def may(self) -> bool:
        return self.allowances.find(WANTED, principal=ALICE, root=None) is not None

    def stored(self, allowance: uuid.UUID) -> tuple[str, bytes]:
        key = f"alice/{allowance}"
        data = self.kv.get(ALLOWANCES, key)
        assert data is not None
        return key, data


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.kv.close()


def test_always_mints_a_token_and_holds_across_a_restart(world: World) -> None:
    asked = world.says("approve_always")
    (signed,) = world.tokens.usable(ALICE)
    assert signed.token.approval_audit_id == asked
    assert signed.token.resource.startswith(f"allowance://{asked}/")
    assert (signed.token.scope, signed.token.expires_at) == ("persistent", None)
    made = world.trail.entries[-1]
    assert (made.action, made.principal) == ("capability_created", "default")
    world.restart()
    assert world.may()


@pytest.mark.parametrize("decision", ["approve", "approve_session", "deny"])
def test_nothing_else_mints(world: World, decision: str) -> None:
    world.says(decision)
    assert world.tokens.usable() == []


def test_allowance_denied_when_its_token_is_revoked(world: World) -> None:
    world.says("approve_always")
    (signed,) = world.tokens.usable(ALICE)
    world.tokens.revoke(signed.token.id, by=DEFAULT_PRINCIPAL)
    assert not world.may()
    assert world.allowances.all(ALICE) == []


def test_token_is_worth_nothing_when_its_allowance_is_removed(world: World) -> None:
    asked = world.says("approve_always")
    key, data = world.stored(asked)
    world.allowances.remove(asked, principal=ALICE)
    assert world.tokens.usable() == []
    world.kv.apply(ALLOWANCES, [KvWrite(key, data)])  # and it cannot be put back
    assert not world.may()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"git push *", b"*"),
        (b'"capsule_id":"shell"', b'"capsule_id":"other"'),
        (b'"created_at":', b'"created_at":1'),
    ],
)
def test_allowance_denied_when_it_was_edited(world: World, old: bytes, new: bytes) -> None:
    key, data = world.stored(world.says("approve_always"))
    assert old in data
    world.kv.apply(ALLOWANCES, [KvWrite(key, data.replace(old, new))])
    other = CapsuleRequest("other", "git push", "git push x")
    assert not world.may()
    assert world.allowances.find(other, principal=ALICE, root=None) is None


def test_allowance_denied_when_nobody_signed_it(world: World) -> None:
    allowance = Allowance(
        id=uuid.UUID(int=5),
        principal="alice",
        action_pattern=CapsuleCommand("shell", "git push", "*"),
        created_at=0,
    )
    AllowanceStore(world.kv).add(allowance)  # written past the kernel
    assert not world.may()
    world.allowances.add(allowance)
    assert world.may()


def test_what_cannot_be_recorded_is_not_signed(world: World) -> None:
    allowance = Allowance(
        id=uuid.UUID(int=5),
        principal="alice",
        action_pattern=CapsuleCommand("shell", "git push", "*"),
        created_at=0,
    )
    world.trail.is_full = True
    with pytest.raises(AuditError):
        world.allowances.add(allowance)
    assert not world.may()
    assert world.tokens.usable() == []
