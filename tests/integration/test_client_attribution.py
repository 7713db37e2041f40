"""Under whose name a client's message appears: its connection's, or another one, as a claim."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.kernel import names_said
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope
from tests.support.capsules import eventually
from tests.support.daemon import Client, install_tools, short_directory
from tests.support.daemon_here import serving

EVENT = {"type": "custom", "data": {"text": "hi"}}
FOREIGN = "12345678-1234-1234-1234-123456789abc"
FOREIGN_SEQ = 1 << 40
CALL = {
    "type": "raw_json",
    "method": "CallTool",
    "params": {"name": "echo", "arguments": {"text": "x"}},
}


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


async def next_of(heard: BusSubscription) -> Envelope:
    await eventually(heard.is_ready)
    (envelope,) = heard.take(max_bytes=1).messages
    return envelope


CASES = [
    # principal of the connection and of the frame; what others hear
    (None, None, "default", Attribution.VERIFIED),
    (None, "default", "default", Attribution.VERIFIED),
    ("alice", None, "alice", Attribution.VERIFIED),
    ("alice", "alice", "alice", Attribution.VERIFIED),
    (None, "bob", "bob", Attribution.CLAIMED),
]


def test_a_name_of_somebody_else_is_a_claim(home: Path) -> None:
    async def main() -> None:
        async with serving(home, before=install_tools) as here:
            events = here.kernel.subscribe("user.v1.*")
            calls = here.kernel.subscribe("tool.v1.execute.echo")
            for connection, named, expected, attribution in CASES:
                with await here.client(connection) as client:
                    said = await say(client, {} if named is None else {"principal": named})
                    assert said == "ToolResult"
                heard = [await next_of(events), await next_of(calls)]
                for envelope in heard:
                    assert (envelope.principal, envelope.attribution) == (expected, attribution)
                    assert envelope.source_id != FOREIGN
                    assert not envelope.timestamp.startswith("2001")
                assert heard[0].seq != FOREIGN_SEQ
            events.close()
            calls.close()

    asyncio.run(main())


async def say(client: Client, more: dict[str, object]) -> str:
    """Publish an event and call a tool; returns the status of the answer.

    What a frame says about its source, its time and its number is not believed.
    """
    client.send(
        "user.v1.prompt",
        EVENT,
        **{**more, "source_id": FOREIGN, "seq": FOREIGN_SEQ, "timestamp": "2001-01-01T00:00:00Z"},
    )
    client.send("astrid.v1.request.x", CALL, **more)
    message = await asyncio.to_thread(client.receive)
    return "" if message is None else str(message["payload"]["status"])


def test_clients_name_so_many_strangers_and_no_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_said, "MAX_STRANGERS", 2)

    async def main() -> None:
        async with serving(home) as here:
            with await here.client() as owner, await here.client("alice"):
                assert await refusal(owner, "bob") == "self:capsule:list"
                assert await refusal(owner, "carol") == "client.principals"
                assert await refusal(owner, "alice") == "self:capsule:list"
                with pytest.raises(RuntimeError, match="no profile"):
                    await here.client("carol")

    asyncio.run(main())


async def refusal(client: Client, named: str) -> str:
    """The rule that refuses a request for a principal."""
    answer = await asyncio.to_thread(client.ask, "ListCapsules", principal=named)
    return str(answer["rule"])
