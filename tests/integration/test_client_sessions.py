"""What was given for a session goes when the last client of its principal has gone."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.domain.allowance import Allowance
from astrid_core.domain.allowance_pattern import CommandGlob
from astrid_core.kernel.principals.assembly import Principals
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.capsules import eventually
from tests.support.daemon import short_directory
from tests.support.daemon_here import serving

ALICE, BOB = Principal("alice"), Principal("bob")


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def give(principals: Principals, principal: Principal, number: int, *, session: bool) -> None:
    """An allowance and a token."""
    principals.allowances.add(
        Allowance(
            id=uuid.UUID(int=number),
            principal=principal,
            action_pattern=CommandGlob("git push *"),
            created_at=number,
            session_only=session,
        )
    )
    token = principals.tokens.mint(
        principal,
        "file:///srv/**",
        ["read"],
        by=DEFAULT_PRINCIPAL,
        life_s=None,
        scope="session" if session else "persistent",
    )
    principals.tokens.add(token)


def held(principals: Principals, principal: Principal) -> tuple[int, int]:
    """How many allowances and tokens there are; an allowance for good rests on a token too."""
    return len(principals.allowances.all(principal)), len(principals.tokens.usable(principal))


def test_177_a_session_ends_with_the_last_client_of_its_principal(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            principals = here.kernel._parts.principals
            with contextlib.ExitStack() as stack:
                stack.enter_context(await here.client("bob"))
                first = stack.enter_context(await here.client("alice"))
                second = stack.enter_context(await here.client("alice"))
                give(principals, ALICE, 1, session=True)
                give(principals, ALICE, 2, session=False)
                give(principals, BOB, 3, session=True)
                first.close()
                with await here.client() as owner:
                    await eventually(lambda: here.daemon._facts()["connected_clients"] == 3)
                    assert held(principals, ALICE) == (2, 3)
                    second.close()
                    await eventually(lambda: held(principals, ALICE) == (1, 2))
                    owner.close()
                assert held(principals, BOB) == (1, 1)

    asyncio.run(main())
