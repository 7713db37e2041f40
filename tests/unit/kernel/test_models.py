"""Models that capsules offer: who is heard, and what is an answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.domain.manifest import parse_manifest
from astrid_core.domain.payload import encode
from astrid_core.domain.payload_variants import LlmRequest, Message
from astrid_core.domain.topic import LLM_PREFIX, LLM_STREAM
from astrid_core.host.models import Generated, ModelError, NoModels
from astrid_core.host.server_questions import pausing
from astrid_core.kernel import models
from astrid_core.kernel.capsule_spec import capsule_grants
from astrid_core.kernel.chain import ChainEnd, ChainReport, MemberReport
from astrid_core.kernel.models import ModelDesk
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.models import MODEL_MANIFEST

ALICE, BOB = Principal("alice"), Principal("bob")
ASKED = uuid.UUID(int=7)
EVENT = "llm_stream_event"
Say = Callable[..., None]


def capsule(name: str, provider: str, *, answers: bool = True, state: str = "ready") -> Any:
    text = MODEL_MANIFEST.format(name=name, provider=provider)
    if not answers:
        text = text.replace(f"{LLM_STREAM}{provider}", "other.topic")
    manifest = parse_manifest(text)
    return SimpleNamespace(
        id=CapsuleId(name), state=state, manifest=manifest, grants=capsule_grants(manifest)
    )


@dataclass
class World:
    """The desk on a real bus; the loaded capsules are those that the test names."""

    capsules: list[Any] = field(default_factory=lambda: [capsule("good", "small")])
    bus: MemoryBus = field(default_factory=MemoryBus)
    works: Callable[[Say], ChainEnd | Exception | None] = lambda _say: None
    stopped: CancelToken | None = None

    def __post_init__(self) -> None:
        self.desk = ModelDesk(self.bus, running=lambda: (self, self))  # type: ignore[arg-type,return-value]  # what it uses

    def all(self) -> list[Any]:
        return self.capsules

    def speaker(self, source_id: str) -> CapsuleId | None:
        return CapsuleId(source_id)

    def publish(self, envelope: Envelope, *, on_done: Any, cancel: CancelToken) -> int:
        """As the dispatcher: through the bus, and then the handlers."""
        self.stopped = cancel
        self.bus.publish(envelope)
        end = self.works(self.say)
        report = ChainReport(end if isinstance(end, ChainEnd) else ChainEnd.COMPLETED)
        if isinstance(end, Exception):
            member = MemberReport(CapsuleId("good"), "generate", error=end)
            report = ChainReport(ChainEnd.COMPLETED, (member,))
        on_done(report)
        return 1

    def say(
        self,
        payload: Any,
        *,
        kind: str = EVENT,
        by: str = "good",
        to: Principal = ALICE,
        about: uuid.UUID = ASKED,
    ) -> None:
        text = json.dumps({"type": kind, "request_id": str(about), **payload}).encode()
        self.bus.publish(Envelope(f"{LLM_STREAM}small", text, kind, source_id=by, principal=to))

    def ask(self, works: Callable[[Say], ChainEnd | Exception | None]) -> Generated:
        self.works = works
        kind, payload = encode(LlmRequest(ASKED, "", [Message("user", "hi")], [], ""))
        asking = Envelope(f"{LLM_PREFIX}small", payload, kind, principal=ALICE)
        cancel = CancelToken()
        pause = pausing(cancel)
        return self.desk.generate("small", asking, request_id=ASKED, cancel=cancel, pause=pause)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(models, "TIMEOUT_S", 0.05)
    made = World()
    yield made
    made.bus.close()


def text(said: str) -> dict[str, Any]:
    return {"event": {"TextDelta": said}}


DONE = {"event": "Done"}
USAGE = {"input_tokens": 3, "output_tokens": 4}


def whole(content: object, stop_reason: str = "EndTurn") -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "response": {
            "message": message,
            "has_tool_calls": False,
            "stop_reason": stop_reason,
            "usage": USAGE,
        }
    }


def test_a_stream_is_put_together_until_it_is_done(world: World) -> None:
    def works(say: Say) -> None:
        for event in (text("a"), {"event": {"ReasoningDelta": "?"}}, text("b")):
            say(event)
        say({"event": {"Usage": USAGE}})
        say(DONE)
        say(text("too late"))

    assert world.ask(works) == Generated("ab", False, 3, 4)


@pytest.mark.parametrize(("stop", "is_cut"), [("EndTurn", False), ("MaxTokens", True)])
def test_a_whole_answer_is_one(world: World, stop: str, *, is_cut: bool) -> None:
    def works(say: Say) -> None:
        say(whole("all", stop), kind="llm_response")

    assert world.ask(works) == Generated("all", is_cut, 3, 4)


@pytest.mark.parametrize(
    "about",
    [{"by": "evil"}, {"to": BOB}, {"about": uuid.UUID(int=8)}, {"kind": "custom"}],
    ids=["another-capsule", "another-principal", "another-request", "no-answer"],
)
def test_answer_denied_when_it_is_somebody_elses(world: World, about: dict[str, Any]) -> None:
    def works(say: Say) -> None:
        say(text("wrong"), **about)
        say(DONE, **about)

    with pytest.raises(ModelError) as caught:
        world.ask(works)
    assert caught.value.code == "model.timeout"
    assert world.stopped is not None
    assert world.stopped.is_fired  # who computes for nobody is stopped


@pytest.mark.parametrize(
    ("payload", "kind", "said"),
    [
        ({"event": {"Error": "the prompt was: secret"}}, EVENT, "it failed"),
        ({"event": {"ToolCallStart": {"id": "1", "name": "x"}}}, EVENT, "call a tool"),
        (whole([{"id": "1", "name": "x", "arguments": {}}]), "llm_response", "call a tool"),
        (text("x" * (models.MAX_TEXT + 1)), EVENT, "more than"),
    ],
)
def test_an_answer_that_is_none_says_why(
    world: World, payload: dict[str, Any], kind: str, said: str
) -> None:
    def works(say: Say) -> None:
        say(payload, kind=kind)

    with pytest.raises(ModelError, match=said) as caught:
        world.ask(works)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ChainEnd.DENIED, "it refused"),
        (ChainEnd.CANCELLED, "it was stopped"),
        (ChainEnd.DROPPED, "too much waits"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_a_provider_that_fails_is_not_waited_for(
    world: World, end: ChainEnd | Exception, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        world.ask(lambda _say: end)


def test_a_hint_chooses_and_else_the_first_by_name() -> None:
    world = World([capsule("a", "tiny-1"), capsule("b", "large")])
    assert world.desk.choose([]) == "large"
    assert world.desk.choose(["tiny-1-preview"]) == "tiny-1"
    assert world.desk.choose(["tiny"]) == "tiny-1"
    assert world.desk.choose(["", "unknown"]) == "large"


@pytest.mark.parametrize(
    "capsules",
    [
        [],
        [capsule("listens", "small", answers=False)],
        [capsule("failed", "small", state="failed")],
    ],
)
def test_who_only_listens_or_is_not_ready_offers_no_model(capsules: list[Any]) -> None:
    world = World(capsules)
    with pytest.raises(ModelError) as caught:
        world.desk.choose([])
    assert caught.value.code == "model.none"
    with pytest.raises(ModelError) as caught:
        world.ask(lambda _say: None)
    assert caught.value.code == "model.none"
    with pytest.raises(ModelError):
        NoModels().choose([])
