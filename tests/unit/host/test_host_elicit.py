"""Install hooks ask people. Spec: host-abi 4, vectors 119 and 120."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from loguru import logger

from astrid_core.domain.elicitation import ElicitError
from astrid_core.host.people import People
from astrid_core.kernel.elicit_messages import ENDED_TOPIC, elicit_notices, take_elicited
from astrid_core.kernel.elicitations import Asked, Elicitations
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import AuditError, SecretError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Trail

ELICIT = "astrid:elicit/host@1.0.0"
SYS = "astrid:sys/host@1.0.0"
ALICE, BOB = Principal("alice"), Principal("bob")
WAIT_S = 20.0
Call = Callable[..., tuple[str, Any]]


class Front:
    """A person, a store for secrets, and hooks that ask."""

    def __init__(self, world: Any, call: Call) -> None:
        self.world, self.call = world, call
        self.trail = Trail()
        announce, ended = elicit_notices(world.bus)
        self.elicitations = Elicitations(self.trail, announce=announce, ended=ended)
        self.heard = world.bus.subscribe("**")
        self.secrets: dict[tuple[str, str, str], str] = {}
        self.store_fails = False
        self.threads = ThreadPoolExecutor(4)

    def keep(self, principal: Principal, capsule: CapsuleId, key: str, text: str) -> None:
        if self.store_fails:
            raise SecretError("the store is locked")
        self.secrets[principal, capsule, key] = text

    def find(self, principal: Principal, capsule: CapsuleId, key: str) -> str | None:
        return self.secrets.get((principal, capsule, key))

    def hook(self, **options: Any) -> Any:
        services = {
            "people": People(elicitor=self.elicitations),
            "secrets": self.find,
            "keep_secret": self.keep,
        }
        chosen = {"purpose": "lifecycle", "services": services, **options}
        return self.world.open(**chosen)

    def start(self, hook: Any, *request: object) -> Future[tuple[str, Any]]:
        fields = (*request, *(("", None, None)[len(request) - 2 :]))
        return self.threads.submit(self.call, hook, "elicit", fields, interface=ELICIT)

    def question(self) -> Asked:
        while not (found := self.elicitations.waiting(ALICE)):
            pass
        return found[0]

    def answered(self, *request: object, **given: Any) -> tuple[str, Any]:
        """What the hook gets for an answer."""
        asked = self.start(self.hook(), *request)
        question = self.question()
        self.say(question, **given)
        return asked.result(WAIT_S)

    def say(self, asked: Asked, *, by: Principal = ALICE, **given: Any) -> None:
        payload = {"type": "elicit_response", "request_id": str(asked.id), **given}
        take_elicited(
            self.elicitations,
            f"astrid.v1.elicit.response.{asked.id}",
            kind="elicit_response",
            payload=json.dumps(payload).encode(),
            principal=by,
        )

    def published(self) -> list[tuple[str, dict[str, Any], str | None]]:
        found = []
        while messages := self.heard.take(max_bytes=1 << 20).messages:
            found += [(one.topic, json.loads(one.payload), one.principal) for one in messages]
        return found


@pytest.fixture
def front(world: Any, call: Call) -> Iterator[Front]:
    made = Front(world, call)
    yield made
    made.threads.shutdown()


@pytest.mark.parametrize(
    ("request_", "given", "got"),
    [
        (("text", "name", "Your name", None, "guest"), {"value": "Ann"}, ("value", "Ann")),
        (("select", "c", "", ["a", "b"], None), {"value": "b"}, ("value", "b")),
        (("array", "hosts"), {"values": ["x", "y"]}, ("values", ["x", "y"])),
        (("array", "hosts"), {"value": "x"}, ("values", ["x"])),
    ],
)
def test_answers_go_to_who_asked(
    front: Front, request_: tuple[object, ...], given: dict[str, Any], got: tuple[str, Any]
) -> None:
    assert front.answered(*request_, **given) == ("ok", got)
    (asked, question, about), (ended, state, _) = front.published()
    assert (asked, about) == ("astrid.v1.elicit", "alice")
    assert (question["capsule_id"], question["field"]["key"]) == ("t", request_[1])
    assert ended == f"{ENDED_TOPIC}{question['request_id']}"
    assert state["state"] == "answered"
    actions = [(entry.action, entry.rule) for entry in front.trail.entries]
    assert actions == [("elicit.request", ""), ("elicit.answer", "person:alice")]


def test_119_what_is_no_question_and_no_answer(front: Front) -> None:
    for purpose in ("call", "run"):
        asked = front.start(front.hook(purpose=purpose), "text", "k")
        assert asked.result(WAIT_S) == ("not-in-lifecycle", None)
    for options in (None, []):
        asked = front.start(front.hook(), "select", "k", "", options, None)
        assert asked.result(WAIT_S) == ("invalid-input", None)
    assert front.published() == []
    assert front.answered("secret", "k", value="") == ("invalid-input", None)
    assert front.answered("text", "k") == ("cancelled", None)
    assert front.answered("select", "k", "", ["a"], None, value="b") == ("invalid-input", None)
    assert front.secrets == {}


def test_120_a_secret_is_stored_and_never_handed_over(front: Front) -> None:
    hook = front.hook()
    lines: list[str] = []
    sink = logger.add(lines.append, level=0)
    try:
        asked = front.start(hook, "secret", "k", "Access token")
        front.say(front.question(), value="hunter2")
        assert asked.result(WAIT_S) == ("ok", ("secret-stored", None))
    finally:
        logger.remove(sink)
    assert front.secrets == {("alice", "t", "k"): "hunter2"}
    assert front.call(hook, "has-secret", "k", interface=ELICIT) == ("ok", True)
    assert front.call(hook, "has-secret", "other", interface=ELICIT) == ("ok", False)
    for key in ("", "a:b", "a/b", "a\n"):
        assert front.call(hook, "has-secret", key, interface=ELICIT) == ("invalid-input", None)
    later = front.hook(purpose="call")
    assert front.call(later, "get-config", "k", interface=SYS) == ("ok", "hunter2")
    assert front.call(later, "get-config", "a:b", interface=SYS) == ("ok", None)
    seen = repr((front.published(), front.trail.entries, lines, front.elicitations.__dict__))
    assert "hunter2" not in seen


def test_secret_denied_when_it_could_not_be_kept(front: Front) -> None:
    nowhere = front.hook(
        services={"people": People(elicitor=front.elicitations), "keep_secret": None}
    )
    assert front.start(nowhere, "secret", "k").result(WAIT_S) == ("store-unavailable", None)
    assert front.published() == []  # nobody typed one in vain
    front.store_fails = True
    assert front.answered("secret", "k", value="s") == ("store-unavailable", None)
    alone = front.hook(services={})
    assert front.start(alone, "text", "k").result(WAIT_S) == ("store-unavailable", None)


def test_answer_denied_when_it_is_somebody_elses(front: Front) -> None:
    asked = front.start(front.hook(), "secret", "k")
    question = front.question()
    assert front.elicitations.waiting(BOB) == []
    with pytest.raises(ElicitError) as caught:
        front.say(question, by=BOB, value="forged")
    assert caught.value.code == "elicit.not-found"
    assert not asked.done()
    front.say(question, by=Principal("default"), value="real")
    assert asked.result(WAIT_S) == ("ok", ("secret-stored", None))
    assert front.secrets == {("alice", "t", "k"): "real"}
    with pytest.raises(ElicitError):
        front.say(question, value="again")


def test_answer_denied_when_it_is_not_about_what_was_asked(front: Front) -> None:
    asked = front.start(front.hook(), "text", "k")
    question, other = front.question(), uuid.uuid4()
    for topic, inside in ((question.id, other), (other, question.id), (other, other)):
        payload = {"type": "elicit_response", "request_id": str(inside), "value": "x"}
        with pytest.raises(ElicitError):
            take_elicited(
                front.elicitations,
                f"astrid.v1.elicit.response.{topic}",
                kind="elicit_response",
                payload=json.dumps(payload).encode(),
                principal=ALICE,
            )
    with pytest.raises(ElicitError):
        take_elicited(
            front.elicitations,
            f"astrid.v1.elicit.response.{question.id}",
            kind="custom",
            payload=b'{"value":"x"}',
            principal=ALICE,
        )
    front.world.emit(  # a message on the bus decides nothing
        f"astrid.v1.elicit.response.{question.id}",
        json.dumps({"type": "elicit_response", "request_id": str(question.id)}).encode(),
        kind="elicit_response",
        principal=ALICE,
    )
    assert not asked.done()
    front.say(question, value="x")
    assert asked.result(WAIT_S) == ("ok", ("value", "x"))


def test_nobody_answers_or_wants_to_know(front: Front) -> None:
    late = front.start(front.hook(timeout_s=0.05), "text", "k")
    assert late.result(WAIT_S) == ("timeout", None)
    cancel = CancelToken()
    cancel.fire()
    assert front.start(front.hook(cancel=cancel), "text", "k").result(WAIT_S) == ("timeout", None)
    states = [payload.get("state") for _, payload, _ in front.published()]
    assert states == [None, "timeout", None, "timeout"]
    assert [entry.detail.get("error") for entry in front.trail.entries][1] == "elicit.timeout"


def test_what_cannot_be_recorded_is_neither_asked_nor_answered(front: Front) -> None:
    front.trail.is_full = True
    assert front.start(front.hook(), "text", "k").result(WAIT_S) == ("unknown", "internal error")
    front.trail.is_full = False
    assert front.published() == []
    asked = front.start(front.hook(), "text", "k")
    question = front.question()
    front.trail.is_full = True
    with pytest.raises(AuditError):
        front.say(question, value="x")
    front.trail.is_full = False
    front.say(question, value="y")
    assert asked.result(WAIT_S) == ("ok", ("value", "y"))


def test_too_many_questions_are_one_too_many(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astrid_core.kernel.elicitations.MAX_PENDING", 0)
    assert front.start(front.hook(), "text", "k").result(WAIT_S) == ("unknown", "refused")
