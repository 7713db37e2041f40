"""What tool servers ask back while they work on a call: people, and models.

Trusted with whose questions these are: a server asks the person and the models of the principal
whose call it works on, only where the manifest says that it may, and each question is on record
before anybody hears of it. Answers go to who asked and into no log.
Spec: MCP 2025-11-25, elicitation and sampling; kernel-and-security 8.1; capsules-and-bus 9.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from astrid_core.domain.elicitation import Elicitation, ElicitError
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES, PayloadError, encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import LlmRequest, Message
from astrid_core.domain.request_rate import RequestRate
from astrid_core.domain.server_form import YES, FormField, confirmation, parse_form
from astrid_core.domain.topic import LLM_PREFIX, MAX_CAUSAL_DEPTH
from astrid_core.host.approval import shown_resource
from astrid_core.host.context import CapsuleContext
from astrid_core.host.models import ModelError
from astrid_core.host.people import Elicitor, Pause
from astrid_core.host.services import HostServices
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken, WaitSource, wait_any
from astrid_hookspecs.engines import Call
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.tool_servers import FormValue, ModelAnswer, ModelPrompt, PersonAnswer
from astrid_hookspecs.values import Principal

PER_MINUTE: Final = 10
"""Questions of one server for one principal, of each kind. Spec: kernel-and-security 13.3."""
FORM_S: Final = 300.0
"""For all fields of a form together; each has the time of any question."""
MAX_HINTS: Final = 16
_ATTEMPTS: Final = 3
_UNANSWERED: Final = frozenset({"elicit.cancelled", "elicit.timeout"})
_BYTES_PER_TOKEN: Final = 4
_ASK_MODEL: Final = "ask a model"


class ServerQuestions:
    """The part of `ToolHost` that asks.

    Args:
        context: The capsule.
        services: What it acts on.
    """

    def __init__(self, context: CapsuleContext, *, services: HostServices) -> None:
        self._context = context
        self._services = services
        self._rate = RequestRate()
        self._rate_lock = threading.Lock()

    def ask_person(
        self,
        call: Call,
        server: str,
        *,
        message: str,
        schema: Mapping[str, object],
        cancel: CancelToken,
    ) -> PersonAnswer:
        """As `ToolHost.ask_person`."""
        self._admit(call, server, of="people")
        fields = parse_form(server, message, schema)
        plain = confirmation(server, message) if not fields else None
        elicitor = self._services.people.elicitor
        if elicitor is None:
            raise ElicitError("there is nobody to ask here", code="elicit.cancelled")
        request_id = str(uuid.uuid4())
        sent = {"server": self._name(server), "elicitation_type": "form"}
        self._record(call.principal, "elicitation_sent", {"request_id": request_id, **sent})
        person = _Person(elicitor, call.principal, self._context, pausing(cancel, limit_s=FORM_S))
        answer = PersonAnswer("cancel")
        try:
            answer = person.confirm(plain) if plain is not None else person.fill(fields)
        except ElicitError as error:
            if error.code not in _UNANSWERED:
                raise
        finally:
            received = {"request_id": request_id, "action": answer.action}
            self._record(call.principal, "elicitation_received", received)
        return answer

    def ask_model(
        self, call: Call, server: str, *, prompt: ModelPrompt, cancel: CancelToken
    ) -> ModelAnswer:
        """As `ToolHost.ask_model`."""
        self._admit(call, server, of="models")
        models, approver = self._services.models, self._services.people.approver
        provider = models.choose(prompt.hints[:MAX_HINTS])
        request_id = uuid.uuid4()
        asking = self._asking(call, provider, request_id, prompt)
        if approver is None:
            raise ModelError("there is nobody here who could agree to it", code="model.none")
        pause = pausing(cancel)
        approver.decide(
            call.principal,
            self._context.id,
            _ASK_MODEL,
            resource=shown_resource(_shown(server, prompt)),
            pause=pause,
        )
        estimate = len(asking.payload) // _BYTES_PER_TOKEN
        self._record(call.principal, "mcp_sampling", {"model": provider, "prompt_tokens": estimate})
        said = models.generate(provider, asking, request_id=request_id, cancel=cancel, pause=pause)
        tokens = {"input_tokens": said.input_tokens, "output_tokens": said.output_tokens}
        self._record(call.principal, "llm_request", {"model": provider, **tokens})
        return ModelAnswer(said.text, provider, said.is_cut)

    def _admit(self, call: Call, server: str, *, of: Literal["people", "models"]) -> None:
        """Let the gate decide, then count."""
        services, grants, principal = self._services, self._context.grants, call.principal
        services.gate.check_server_question(
            grants, principal, server, of=of, enabled=services.profiles.is_enabled(principal)
        )
        now = services.clock.monotonic()
        with self._rate_lock:
            wait_s = self._rate.wait_s(principal, f"{of}:{server}", limit=PER_MINUTE, now=now)
        if wait_s > 0:
            action = "server.elicit" if of == "people" else "server.sample"
            services.gate.report_excess(grants, principal, action, rule="questions-per-minute")
            raise QuotaExceededError(
                f"server {server!r} asks more than {PER_MINUTE} times a minute",
                rule="questions-per-minute",
                hint=f"it may ask again in {wait_s:.0f} s",
            )

    def _asking(
        self, call: Call, provider: str, request_id: uuid.UUID, prompt: ModelPrompt
    ) -> Envelope:
        """The request as it goes on the bus, for the principal of the call."""
        if not prompt.messages:
            raise ModelError("a prompt has at least one message", code="model.prompt")
        request = LlmRequest(
            request_id,
            model="",
            messages=[Message(role, text) for role, text in prompt.messages],
            tools=[],
            system=prompt.system,
        )
        try:
            kind, payload = encode(request)
        except (PayloadError, TypeError, ValueError, RecursionError) as error:
            raise ModelError("the prompt cannot be sent", code="model.prompt") from error
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ModelError(f"a prompt has at most {MAX_PAYLOAD_BYTES} bytes", code="model.prompt")
        topic = f"{LLM_PREFIX}{provider}"
        grants = replace(self._context.grants, publish=(topic,))
        self._services.gate.check_publish(grants, call.principal, topic)
        if depth_of(call) > MAX_CAUSAL_DEPTH:
            raise ModelError("the call that asks was itself caused too deep", code="model.prompt")
        return self._outgoing(call, topic, kind, payload)

    def _outgoing(self, call: Call, topic: str, kind: str, payload: bytes) -> Envelope:
        """What is published for the principal of a call, caused by it."""
        caller = call.caller
        has_principal = caller is not None and caller.principal is not None
        return Envelope(
            topic=topic,
            payload=payload,
            kind=kind,
            source_id=self._context.spec.source_id,
            principal=call.principal,
            attribution=caller.attribution
            if caller is not None and has_principal
            else Attribution.VERIFIED,
            timestamp=format_timestamp(time.time_ns()),
            depth=depth_of(call),
        )

    def _name(self, server: str) -> str:
        return f"{self._context.id}:{server}"

    def _record(self, principal: Principal, action: str, detail: Mapping[str, AuditValue]) -> None:
        self._services.audit.append(
            AuditEntry(
                timestamp=format_timestamp(time.time_ns()),
                principal=principal,
                capsule=None,
                action=action,
                resource="",
                outcome="allowed",
                rule="server",
                detail=detail,
            )
        )


class _Person:
    """Asks one person one field after the other."""

    def __init__(
        self, elicitor: Elicitor, principal: Principal, context: CapsuleContext, pause: Pause
    ) -> None:
        self._elicitor = elicitor
        self._principal = principal
        self._context = context
        self._pause = pause

    def confirm(self, question: Elicitation) -> PersonAnswer:
        """A plain yes or no."""
        said = self._elicitor.ask(
            self._principal, self._context.id, question, pause=self._pause
        ).value
        return PersonAnswer("accept" if said == YES else "decline")

    def fill(self, fields: Sequence[FormField]) -> PersonAnswer:
        """Every field; one that stays without a usable answer ends the form."""
        content: dict[str, FormValue] = {}
        for field in fields:
            value = self._value(field)
            if value is not None:
                content[field.name] = value
        return PersonAnswer("accept", content)

    def _value(self, field: FormField) -> FormValue | None:
        for _ in range(_ATTEMPTS):
            answer = self._elicitor.ask(
                self._principal, self._context.id, field.question, pause=self._pause
            )
            try:
                return field.read(answer)
            except ElicitError:
                continue
        raise ElicitError("no answer was of use", code="elicit.cancelled")


def _shown(server: str, prompt: ModelPrompt) -> str:
    """What a person sees of a prompt: how much it is, and what it ends with."""
    size = len(prompt.system) + sum(len(text) for _, text in prompt.messages)
    return f"{_ASK_MODEL} for {server}, {size} characters: {prompt.messages[-1][1]}"


def pausing(cancel: CancelToken, *, limit_s: float | None = None) -> Pause:
    """Waits that end with a token, and all together after a limit."""
    end = None if limit_s is None else time.monotonic() + limit_s

    def pause(sources: Sequence[WaitSource], timeout_s: float) -> bool:
        left_s = timeout_s if end is None else min(timeout_s, max(end - time.monotonic(), 0.0))
        wait_any((*sources, cancel), timeout_s=left_s)
        return cancel.is_fired

    return pause


def depth_of(call: Call) -> int:
    """How deep what a call causes is; more than `MAX_CAUSAL_DEPTH` is not published."""
    return (call.caller.depth if call.caller is not None else 0) + 1
