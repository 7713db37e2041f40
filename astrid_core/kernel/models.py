"""Models that capsules offer: who offers one, and one request from its start to its end.

Trusted with answers: only the capsule that offers the provider is heard, only for the principal
that asked, and only about this request. Spec: capsules-and-bus 6.3, 9 (`llm.v1.*`).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from astrid_core.domain.payload import PayloadError, decode
from astrid_core.domain.payload_variants import LlmResponse, LlmStreamEvent, StreamEvent
from astrid_core.domain.topic import LLM_PREFIX, LLM_STREAM, matches_acl
from astrid_core.host.models import Generated, ModelError
from astrid_core.host.people import Pause
from astrid_core.kernel.chain import ChainEnd, ChainReport
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.values import CapsuleId, Principal

TIMEOUT_S: Final = 120.0
MAX_TEXT: Final = 1024 * 1024
"""Characters of an answer."""
_ENDED: Final = {
    ChainEnd.DENIED: "it refused",
    ChainEnd.CANCELLED: "it was stopped",
    ChainEnd.DROPPED: "too much waits for it",
}


class Table(Protocol):
    """What is asked of the loaded capsules."""

    def all(self) -> list[Loaded]:
        """Every one."""
        ...

    def speaker(self, source_id: str) -> CapsuleId | None:
        """Which one publishes under a source id."""
        ...


class ModelDesk:
    """Implements `astrid_core.host.models.Models`.

    Args:
        bus: Where answers appear.
        running: Gives what delivers requests, and the capsules that answer them; not asked before
            both are there.
    """

    def __init__(self, bus: Bus, *, running: Callable[[], tuple[Dispatcher, Table]]) -> None:
        self._bus = bus
        self._running = running

    def choose(self, hints: Sequence[str]) -> str:
        """As `Models.choose`."""
        found = sorted(self._providers())
        if not found:
            raise ModelError(
                "no capsule here offers a model",
                code="model.none",
                hint=f"install one that answers {LLM_PREFIX}NAME",
            )
        for hint in hints:
            for name in found:
                if name in hint or (hint and hint in name):
                    return name
        return found[0]

    def generate(
        self,
        provider: str,
        asking: Envelope,
        *,
        request_id: uuid.UUID,
        cancel: CancelToken,
        pause: Pause,
    ) -> Generated:
        """As `Models.generate`."""
        dispatcher, capsules = self._running()
        owner = self._providers().get(provider)
        if owner is None:
            raise ModelError(f"no capsule offers the model {provider!r} now", code="model.none")
        answer = _Answer(request_id, asking.principal, owner, capsules)
        given_up = CancelToken()
        stop = self._bus.add_listener(f"{LLM_STREAM}{provider}", answer.hear)
        try:
            dispatcher.publish(asking, cancel=given_up, on_done=answer.delivered)
            pause((answer.done,), TIMEOUT_S)
        finally:
            stop()
            if not answer.done.is_fired:
                given_up.fire()
        if cancel.is_fired:
            raise ModelError("nobody waits for the model any more", code="model.timeout")
        return answer.result(provider)

    def _providers(self) -> dict[str, CapsuleId]:
        """Which capsule hears requests for each name and may answer; of several, the first."""
        found: dict[str, CapsuleId] = {}
        _, capsules = self._running()
        for capsule in capsules.all():
            if capsule.state != "ready":
                continue
            topics = (
                *(binding.topic for binding in capsule.manifest.interceptors),
                *capsule.manifest.effective_subscribe_acl,
            )
            for topic in topics:
                name = topic.removeprefix(LLM_PREFIX)
                if name not in (topic, "*") and _may_answer(capsule, name):
                    found.setdefault(name, capsule.id)
        return found


def _may_answer(capsule: Loaded, provider: str) -> bool:
    answers = f"{LLM_STREAM}{provider}"
    return any(matches_acl(answers, pattern) for pattern in capsule.grants.publish)


class _Answer:
    """Collects what a provider says. Any thread may call it."""

    def __init__(
        self, request_id: uuid.UUID, principal: Principal | None, owner: CapsuleId, capsules: Table
    ) -> None:
        self._request_id = request_id
        self._principal = principal
        self._owner = owner
        self._capsules = capsules
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._length = 0
        self._problem = ""
        self._is_cut = False
        self._tokens = (0, 0)
        self.done = CancelToken()

    def hear(self, envelope: Envelope) -> None:
        """A message on the provider's topic."""
        if envelope.principal != self._principal:
            return
        if self._capsules.speaker(envelope.source_id) != self._owner:
            return
        try:
            said = decode(envelope.kind, envelope.payload)
        except PayloadError:
            return
        if not isinstance(said, LlmStreamEvent | LlmResponse):
            return
        if said.request_id != self._request_id:
            return
        with self._lock:
            if self.done.is_fired:
                return
            if isinstance(said, LlmResponse):
                self._take_whole(said)
            elif said.event == "Done":
                self.done.fire()
            else:
                self._take(said.event)

    def delivered(self, report: ChainReport) -> None:
        """The request has been through every handler."""
        problem = _ENDED.get(report.end, "")
        if not problem and report.first_error is not None:
            problem = type(report.first_error).__name__
        if problem:
            with self._lock:
                self._fail(problem)

    def result(self, provider: str) -> Generated:
        """What was said.

        Raises:
            ModelError: It is not complete.
        """
        with self._lock:
            if self._problem:
                raise ModelError(f"the model {provider!r} gave no answer: {self._problem}")
            if not self.done.is_fired:
                raise ModelError(
                    f"the model {provider!r} did not answer within {TIMEOUT_S:g} s",
                    code="model.timeout",
                )
            return Generated("".join(self._parts), self._is_cut, *self._tokens)

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event.text_delta, str):
            self._add(event.text_delta)
        elif isinstance(event.error, str):
            self._fail("it failed")  # what it says may hold what it was asked
        elif not isinstance(event.usage, msgspec.UnsetType):
            self._tokens = (event.usage.input_tokens, event.usage.output_tokens)
        elif isinstance(event.reasoning_delta, msgspec.UnsetType):
            self._fail("it wants to call a tool, and was given none")

    def _take_whole(self, said: LlmResponse) -> None:
        content, usage = said.response.message.content, said.response.usage
        if not isinstance(content, str):
            self._fail("it wants to call a tool, and was given none")
            return
        self._parts = []
        self._length = 0
        self._add(content)
        self._is_cut = said.response.stop_reason == "MaxTokens"
        self._tokens = (usage.input_tokens, usage.output_tokens)
        self.done.fire()

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_TEXT:
            self._fail(f"it said more than {MAX_TEXT} characters")
        else:
            self._parts.append(text)

    def _fail(self, problem: str) -> None:
        if not self.done.is_fired:
            self._problem = problem
            self.done.fire()
