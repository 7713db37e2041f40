"""Ways to what a person did not say, or did not mean for everybody: on the socket and on the bus.

Each guard was taken out once to see its test fail: `may_answer` of approvals and of elicitations,
the return before the bus in `ClientAccess.publish`, and the principal of the notices.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from astrid_core import Kernel
from astrid_core.cli.attended import take_reply
from astrid_core.cli.attending import Attendant, Policy
from astrid_core.cli.output import current
from astrid_core.domain.elicitation import Answer, elicitation
from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_core.kernel.elicitations import Asked
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.capsules import eventually, install, manifest, write_capsule
from tests.support.daemon import Client, short_directory
from tests.support.daemon_here import DaemonHere, serving
from tests.support.guests import publishing

ALICE, SHELL = Principal("alice"), CapsuleId("shell")
WORD = "hunter2-of-alice"
PATTERNS = ("astrid.v1.*", "astrid.v1.elicit", "astrid.v1.elicit.*", "astrid.v1.approval")
WAIT_S = 20.0


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


class Asking:
    """An install hook of alice's capsule that waits for a secret, on a thread of its own."""

    def __init__(self, kernel: Kernel) -> None:
        self._elicitations = kernel._parts.principals.elicitations
        self.got: list[Answer | Exception] = []
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        question = elicitation("secret", "token", "Access token", options=None, default=None)

        def pause(sources: Any, timeout_s: float) -> bool:
            wait_any(tuple(sources), timeout_s=min(timeout_s, WAIT_S))
            return False

        try:
            self.got.append(self._elicitations.ask(ALICE, SHELL, question, pause=pause))
        except Exception as error:  # noqa: BLE001 - what it was is looked at
            self.got.append(error)

    async def question(self) -> Asked:
        await eventually(lambda: self._elicitations.waiting(ALICE) != [])
        return self._elicitations.waiting(ALICE)[0]


def listen(client: Client) -> None:
    for pattern in PATTERNS:
        assert client.ask("Subscribe", params={"pattern": pattern})["status"] == "Success"


def everything(client: Client) -> list[dict[str, Any]]:
    """What has arrived, up to the answer to a question asked now."""
    heard = []
    client.send("astrid.v1.request.end", {"type": "raw_json", "method": "ListCapsules"})
    while (message := client.receive()) is not None and message[
        "topic"
    ] != "astrid.v1.response.end":
        heard.append(message)
    return heard


def reply(request_id: uuid.UUID, **given: Any) -> tuple[str, dict[str, Any]]:
    payload = {"type": "elicit_response", "request_id": str(request_id), **given}
    return f"astrid.v1.elicit.response.{request_id}", payload


def test_a_secret_reaches_who_asked_and_nobody_else(home: Path) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level=0)

    async def main() -> None:
        async with serving(home) as here:
            heard = here.kernel.subscribe("**")
            with (
                await here.client("alice") as alice,
                await here.client("alice") as other,
                await here.client("mallory") as mallory,
                await here.client() as owner,
            ):
                everybody = (alice, other, mallory, owner)
                for client in everybody:
                    await asyncio.to_thread(listen, client)
                asking = Asking(here.kernel)
                question = await asking.question()
                await asyncio.to_thread(alice.send, *reply(question.id, value=WORD))
                await asyncio.to_thread(asking.thread.join, WAIT_S)
                assert asking.got == [Answer(value=WORD)]
                said = {}
                for name, client in zip(
                    ("alice", "other", "mallory", "owner"), everybody, strict=True
                ):
                    said[name] = await asyncio.to_thread(everything, client)
                assert WORD not in json.dumps(said)
                topics = {name: {one["topic"] for one in found} for name, found in said.items()}
                asked = {"astrid.v1.elicit", f"astrid.v1.elicit.ended.{question.id}"}
                assert topics == {
                    "alice": asked, "other": asked, "mallory": set(), "owner": set()
                }  # fmt: skip
            for batch in iter(lambda: heard.take(max_bytes=1 << 20).messages, ()):
                assert all(WORD.encode() not in one.payload for one in batch)

    try:
        asyncio.run(main())
    finally:
        logger.remove(sink)
    assert WORD not in "".join(lines)
    holders = [p for p in home.rglob("*") if p.is_file() and WORD.encode() in p.read_bytes()]
    assert holders == []


def test_answer_denied_when_another_principal_gives_it(home: Path) -> None:
    async def main() -> None:
        async with serving(home) as here:
            with await here.client("mallory") as mallory:
                asking = Asking(here.kernel)
                question = await asking.question()
                for given in ({"value": "forged"}, {}):  # an answer, and giving up for somebody
                    await asyncio.to_thread(mallory.send, *reply(question.id, **given))
                    refused = await asyncio.to_thread(mallory.receive)
                    assert refused is not None
                    assert refused["payload"]["code"] == "elicit.not-found"
                assert asking.got == []
                with await here.client() as owner:
                    await asyncio.to_thread(owner.send, *reply(question.id, value=WORD))
                    await asyncio.to_thread(asking.thread.join, WAIT_S)
                assert asking.got == [Answer(value=WORD)]
            assert await _ids(here) == []

    asyncio.run(main())


async def _ids(here: DaemonHere) -> list[uuid.UUID]:
    return [one.id for one in here.kernel.approvals.pending()]


@pytest.mark.parametrize("kind", ["approval", "elicit"])
@pytest.mark.parametrize("front_end", [True, False])
def test_answer_denied_when_a_capsule_forges_it(
    home: Path, tmp_path: Path, kind: str, front_end: bool
) -> None:
    """Also one that may publish on reserved topics: what it says there decides nothing."""

    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            if kind == "approval":
                ticket = kernel.approvals.request(ALICE, SHELL, "pay", resource="bob")
                asked, given = ticket.question.id, '"decision":"approve_always"'
            else:
                asking = Asking(kernel)
                asked, given = (await asking.question()).id, '"value":"forged"'
            payload = f'{{"type":"{kind}_response","request_id":"{asked}",{given}}}'
            topic = f"astrid.v1.{kind}.response.{asked}"
            body = f'[publish]\n"astrid.v1.{kind}.response.*" = {{ wit = "opaque" }}\n'
            body += '[subscribe]\n"go.v1.now" = { wit = "opaque", handler = "go" }\n'
            body += "[capabilities]\nuplink = true\n" if front_end else ""
            source = write_capsule(
                tmp_path / "forger", publishing(topic, payload), manifest("forger", body=body)
            )
            await install(kernel, source)
            heard = kernel.subscribe(topic)
            kernel.publish(
                Envelope("go.v1.now", b"{}", principal=ALICE, attribution=Attribution.VERIFIED)
            )
            if front_end:
                await eventually(heard.is_ready)  # it is a message, and nothing else
            else:
                await eventually(lambda: kernel.denials() != [])
                assert kernel.denials()[-1].rule == "reserved-topic"
            if kind == "approval":
                assert [one.id for one in kernel.approvals.pending(ALICE)] == [asked]
            else:
                assert asking.got == []
                kernel._parts.principals.elicitations.answer(
                    asked, value=WORD, values=None, by=ALICE
                )
                await asyncio.to_thread(asking.thread.join, WAIT_S)
                assert asking.got == [Answer(value=WORD)]

    asyncio.run(main())


@pytest.mark.parametrize("front_end", [True, False])
def test_question_denied_when_a_capsule_puts_other_words_to_it(
    home: Path, tmp_path: Path, *, front_end: bool
) -> None:
    """It heard the id of a question and asks anew, with words that a policy says yes to."""

    async def main() -> None:
        async with Kernel.open(home=home) as kernel:
            asked = kernel.approvals.request(ALICE, SHELL, "pay", resource="bob").question.id
            policy = Policy(patterns=(ResourcePattern("read *"),))
            attendant = Attendant(current(), policy=policy, terminal=None)

            def hear(envelope: Envelope) -> None:
                reply = attendant.answer(envelope.topic, json.loads(envelope.payload))
                take_reply(reply, clients=kernel.clients, principal=ALICE)

            kernel.clients.listen("astrid.v1.approval", hear)
            words = {"action": "forger: read", "resource": "weather", "reason": ""}
            payload = {"type": "approval_required", "request_id": str(asked), **words}
            body = '[publish]\n"astrid.v1.approval" = "opaque"\n'
            body += '[subscribe]\n"go.v1.now" = { wit = "opaque", handler = "go" }\n'
            body += "[capabilities]\nuplink = true\n" if front_end else ""
            component = publishing("astrid.v1.approval", json.dumps(payload))
            await install(
                kernel, write_capsule(tmp_path / "f", component, manifest("forger", body=body))
            )
            kernel.publish(
                Envelope("go.v1.now", b"{}", principal=ALICE, attribution=Attribution.VERIFIED)
            )
            (forger,) = kernel.capsules()
            await eventually(lambda: forger.stats()["calls"] == 1 and not forger.stats()["active"])
            assert [one.id for one in kernel.approvals.pending(ALICE)] == [asked]
            assert kernel.denials()[-1].rule == "kernel-topic"

    asyncio.run(main())


def test_question_denied_when_it_is_put_to_somebody_else(home: Path) -> None:
    """A capsule asks those it acts for; nothing that it says names another."""

    async def main() -> None:
        async with serving(home) as here:
            with await here.client("mallory") as mallory, await here.client("alice") as alice:
                for client in (mallory, alice):
                    await asyncio.to_thread(listen, client)
                ticket = await asyncio.to_thread(
                    here.kernel.approvals.request, ALICE, SHELL, "pay", resource="mallory"
                )
                assert await asyncio.to_thread(everything, mallory) == []
                asked, *_ = await asyncio.to_thread(everything, alice)
                assert asked["payload"]["request_id"] == str(ticket.question.id)
                later = {
                    "type": "approval_response",
                    "request_id": str(ticket.question.id),
                    "decision": "later",
                }
                topic = f"astrid.v1.approval.response.{ticket.question.id}"
                await asyncio.to_thread(mallory.send, topic, later)  # nobody else lets them go on
                refused = await asyncio.to_thread(mallory.receive)
                assert refused is not None
                assert refused["payload"]["code"] == "approval.not-found"

    asyncio.run(main())


def test_answer_denied_when_the_right_to_answer_is_revoked(home: Path) -> None:
    profiles = home / "etc" / "profiles"
    profiles.mkdir(parents=True)
    for directory in (profiles, profiles.parent, home):
        directory.chmod(0o700)
    (profiles / "alice.toml").write_text('revokes = ["self:approval:respond"]\n')

    async def main() -> None:
        async with serving(home) as here:
            ticket = here.kernel.approvals.request(ALICE, SHELL, "pay", resource="bob")
            asking = Asking(here.kernel)
            question = await asking.question()
            yes = {
                "type": "approval_response",
                "request_id": str(ticket.question.id),
                "decision": "approve",
            }
            topic = f"astrid.v1.approval.response.{ticket.question.id}"
            with await here.client("alice") as alice, await here.client() as owner:
                for frame in ((topic, yes), reply(question.id, value="x")):
                    await asyncio.to_thread(alice.send, *frame)
                    refused = await asyncio.to_thread(alice.receive)
                    assert refused is not None
                    assert refused["payload"]["code"] == "denied.capability"
                assert await _ids(here) == [ticket.question.id]
                assert asking.got == []
                await asyncio.to_thread(owner.send, *reply(question.id, value=WORD))
                await asyncio.to_thread(asking.thread.join, WAIT_S)
                assert asking.got == [Answer(value=WORD)]

    asyncio.run(main())
