"""A question to a person: from the kernel to a front end on the socket, and back."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.domain.action import CapsuleRequest
from astrid_core.kernel.approvals import Ticket
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.capsules import eventually
from tests.support.daemon import Client, short_directory
from tests.support.daemon_here import serving

ALICE = Principal("alice")
ANSWERS = "astrid.v1.approval.response."
WAIT_S = 20.0


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def ask(kernel: Kernel) -> Ticket:
    return kernel.approvals.request(
        ALICE, CapsuleId("shell"), "run a command", resource="git push", reason="to publish"
    )


def listen(client: Client) -> None:
    answer = client.ask("Subscribe", params={"pattern": "astrid.v1.approval"})
    assert answer["status"] == "Success"


def answer(client: Client, request_id: str, decision: str, *, inside: str | None = None) -> None:
    response = {
        "type": "approval_response",
        "request_id": request_id if inside is None else inside,
        "decision": decision,
    }
    client.send(ANSWERS + request_id, response)


def refusal(client: Client) -> str:
    message = client.receive()
    assert message is not None
    assert message["payload"]["status"] == "Error", message
    return str(message["payload"]["data"])


def test_a_person_is_asked_and_says_yes(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            with await here.client("alice") as alice, await here.client("bob") as bob:
                await asyncio.to_thread(listen, alice)
                await asyncio.to_thread(listen, bob)
                ticket = await asyncio.to_thread(ask, here.kernel)
                waiting = asyncio.create_task(
                    asyncio.to_thread(here.kernel.approvals.wait, ticket, timeout_s=WAIT_S)
                )
                shown = await asyncio.to_thread(alice.receive)
                assert shown is not None
                payload: dict[str, Any] = shown["payload"]
                assert payload["action"] == "shell: run a command"
                assert (payload["resource"], payload["reason"]) == ("git push", "to publish")
                request_id = payload["request_id"]
                await asyncio.to_thread(answer, bob, request_id, "approve_always")
                assert "no request" in await asyncio.to_thread(refusal, bob)
                assert not waiting.done()
                await asyncio.to_thread(answer, alice, request_id, "approve")
                assert await waiting == f"allowance:{request_id}"

    asyncio.run(main())


def test_answer_denied_when_it_is_not_about_what_was_shown(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            ticket = await asyncio.to_thread(ask, here.kernel)
            shown, other = str(ticket.question.id), str(uuid.uuid4())
            with await here.client("alice") as alice:
                for topic, inside in ((shown, other), (other, shown), (other, other), ("x", "x")):
                    send = functools.partial(answer, alice, topic, "approve", inside=inside)
                    await asyncio.to_thread(send)
                    await asyncio.to_thread(refusal, alice)
                await asyncio.to_thread(
                    alice.send, ANSWERS + shown, {"type": "custom", "data": {"decision": "approve"}}
                )
                await asyncio.to_thread(refusal, alice)
            assert [one.id for one in here.kernel.approvals.pending()] == [ticket.question.id]

    asyncio.run(main())


def test_answer_denied_when_it_only_stands_on_the_bus(home: Path) -> None:
    """Capsules reach the bus, and nothing takes an answer from there."""

    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            ticket = await asyncio.to_thread(ask, kernel)
            text = f'{{"type":"approval_response","request_id":"{ticket.question.id}",'
            kernel.publish(
                Envelope(
                    f"{ANSWERS}{ticket.question.id}",
                    f'{text}"decision":"approve"}}'.encode(),
                    "approval_response",
                    principal=ALICE,
                    attribution=Attribution.VERIFIED,
                )
            )
            assert len(kernel.approvals.pending()) == 1

    asyncio.run(main())


def test_a_question_outlives_the_kernel_and_its_answer_waits(home: Path) -> None:
    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            asked = (await asyncio.to_thread(ask, kernel)).question.id
        async with serving(home) as here:
            assert [one.id for one in here.kernel.approvals.pending(ALICE)] == [asked]
            with await here.client("alice") as alice:
                await asyncio.to_thread(answer, alice, str(asked), "approve_always")
                await eventually(lambda: here.kernel.approvals.pending() == [])
        async with Kernel.open(home=home) as kernel:
            ticket = await asyncio.to_thread(ask, kernel)
            rule = await asyncio.to_thread(kernel.approvals.wait, ticket, timeout_s=0)
            assert rule == f"allowance:{asked}"
            assert ticket.question.wanted == CapsuleRequest("shell", "run a command", "git push")

    asyncio.run(main())
