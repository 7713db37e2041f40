"""Who asks the kernel over the bus faster than it answers loses requests, and only its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.daemon.bus_requests import MAX_OF_ONE
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from astrid_hookspecs.values import Principal
from tests.support.capsules import eventually
from tests.support.daemon import short_directory
from tests.support.daemon_here import serving


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def ask(kernel: Kernel, principal: str | None, request_id: str, *, depth: int = 0) -> None:
    payload = json.dumps({"method": "ListTools", "request_id": request_id}).encode()
    who = None if principal is None else Principal(principal)
    kernel.publish(
        Envelope(
            "astrid.v1.request.x",
            payload,
            "raw_json",
            principal=who,
            attribution=Attribution.SYSTEM if who is None else Attribution.VERIFIED,
            depth=depth,
        )
    )


async def answers(heard: BusSubscription, count: int) -> list[tuple[str | None, Any, int]]:
    """Principal, payload and depth of the next answers."""
    found: list[Envelope] = []
    while len(found) < count:
        await eventually(heard.is_ready)
        found += heard.take(max_bytes=1 << 20).messages
    return [(e.principal, json.loads(e.payload), e.depth) for e in found]


def test_a_flood_of_one_principal_leaves_the_others_their_place(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            with await here.client() as client:
                heard = here.kernel.subscribe("astrid.v1.response.x")
                for number in range(3 * MAX_OF_ONE):  # nothing is answered before this loop goes on
                    ask(here.kernel, "default", str(number))
                ask(here.kernel, "alice", "hers")
                found = await answers(heard, MAX_OF_ONE + 1)
                owners = [payload["request_id"] for who, payload, _ in found if who == "default"]
                assert sorted(owners, key=int) == [str(number) for number in range(MAX_OF_ONE)]
                assert [p["request_id"] for who, p, _ in found if who == "alice"] == ["hers"]
                status = await asyncio.to_thread(client.ask, "GetStatus")
                assert status["data"]["requests_lost"] == 2 * MAX_OF_ONE
                ask(here.kernel, "default", "afterwards")  # there is room again
                ((who, payload, depth),) = await answers(heard, 1)
                assert (who, payload["request_id"], depth) == ("default", "afterwards", 1)
                heard.close()

    asyncio.run(main())


def test_a_request_of_nobody_is_refused_and_a_loop_of_answers_ends(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            with await here.client():
                heard = here.kernel.subscribe("astrid.v1.response.x")
                ask(here.kernel, "default", "too deep", depth=MAX_CAUSAL_DEPTH)
                ask(here.kernel, None, "nobody's")
                ((who, payload, _),) = await answers(heard, 1)
                assert who is None
                assert (payload["request_id"], payload["rule"]) == ("nobody's", "request.principal")
                heard.close()

    asyncio.run(main())
