"""Tool calls: find who offers a tool, ask, and match the answer to the question.

Trusted with answers: only a capsule that was asked can answer a call, and only once.
Spec: capsules-and-bus 8.1.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from astrid_core.domain.payload import MAX_PAYLOAD_BYTES, PayloadError, decode, encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import Custom, ToolExecuteRequest, ToolExecuteResult
from astrid_core.domain.topic import TOOL_PREFIX
from astrid_core.kernel.audit.tool_calls import record_tool_call
from astrid_core.kernel.capsules import CapsuleTable
from astrid_core.kernel.chain import ChainEnd, ChainReport
from astrid_core.kernel.dispatcher import Dispatcher
from astrid_core.kernel.loaded import Loaded
from astrid_core.kernel.supervision import FAILED_TOPIC
from astrid_core.kernel.tool_catalogue import ToolInfo, described, not_found, spellings
from astrid_hookspecs.buses import Attribution, Bus, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Limits
from astrid_hookspecs.errors import (
    CapsuleNotFoundError,
    GuestCancelledError,
    PolicyDeniedError,
    QuotaExceededError,
    ToolError,
    ToolNotFoundError,
)
from astrid_hookspecs.values import CapsuleId, Principal

RESULT_PATTERN: Final = "tool.v1.execute.*.result"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered.

    Attributes:
        content: Text, or JSON text for anything that is not text.
        is_error: Whether the tool itself reports a failure; `content` then says which.
        capsule: Who answered.
        duration_ms: From the request to the answer.
        blocks: The answer as MCP content blocks where `content` is not all of it, else empty.
        structured: The answer as a value, where the tool gave one besides its text.
    """

    content: str
    is_error: bool
    capsule: str
    duration_ms: float
    blocks: tuple[Mapping[str, object], ...] = ()
    structured: object = None

    def json(self) -> Any:
        """The content as a value.

        Raises:
            ToolError: `tool.not-json`: the content is plain text, or nested too deeply.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            deep = isinstance(error, RecursionError)
            what = "JSON that is nested too deeply" if deep else "plain text, not JSON"
            raise ToolError(f"the tool answered with {what}", code="tool.not-json") from error


Outcome = ToolResult | Exception


class StartedCall(NamedTuple):
    """A call that was asked for.

    Attributes:
        call_id: For `ToolCalls.forget`.
        timeout_s: After how long the caller has to give up, because nothing else ends the wait:
            nobody meters one message to a run loop. None where the engine keeps the time.
    """

    call_id: str
    timeout_s: float | None


@dataclass(slots=True)
class _Pending:
    provider: CapsuleId
    principal: Principal
    on_done: Callable[[Outcome], None]
    started: float
    is_hook: bool


class ToolCalls:
    """Calls tools and waits for none: every outcome arrives through a callback.

    Args:
        bus: Where answers appear.
        dispatcher: Delivers the requests.
        capsules: Who offers what.
    """

    def __init__(self, bus: Bus, *, dispatcher: Dispatcher, capsules: CapsuleTable) -> None:
        self._dispatcher = dispatcher
        self._capsules = capsules
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._stop_listening = bus.add_listener(RESULT_PATTERN, self._on_result)
        self._stop_hearing = bus.add_listener(FAILED_TOPIC, self._on_failure)

    def start(
        self,
        name: str,
        arguments: Mapping[str, object],
        *,
        principal: Principal,
        cancel: CancelToken,
        on_done: Callable[[Outcome], None],
        attribution: Attribution = Attribution.VERIFIED,
    ) -> StartedCall:
        """Ask for a tool call; returns as soon as the request is queued.

        Args:
            name: `tool`, or `capsule.tool` where several capsules offer it.
            arguments: Encodable as JSON.
            principal: On whose behalf.
            cancel: Fire it to stop the call; the outcome is then `GuestCancelledError`.
            on_done: Called once, on any thread, with the result or the error; it returns quickly.
            attribution: How sure the caller is of the principal.

        Raises:
            ToolNotFoundError: Nobody offers it, or several do.
            CapsuleNotFoundError: `capsule.not-ready`: who offers it has failed.
            ToolError: `tool.arguments`: they cannot be encoded, or are too long.
            DeniedError, ConfigError, AuditError: A run loop offers it, and the principal may not
                use it or that could not be recorded; calls of interceptors are refused through
                `on_done`.
        """
        tool, provider, others = self._find(name)
        call_id = secrets.token_hex(16)
        request = ToolExecuteRequest(call_id=call_id, tool_name=tool, arguments=dict(arguments))
        try:
            kind, payload = encode(request)
        except (PayloadError, TypeError, ValueError, RecursionError) as error:
            raise ToolError(
                f"the arguments for {tool!r} cannot be sent: {error}", code="tool.arguments"
            ) from error
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ToolError(
                f"the arguments for {tool!r} have {len(payload)} bytes; at most "
                f"{MAX_PAYLOAD_BYTES} can be sent",
                code="tool.arguments",
                hint="pass a path or a key instead of the content",
            )
        is_hook = provider.answers_hooks()
        timeout_s = None if is_hook else _admit(provider, principal, tool, payload)
        with self._lock:
            started = time.perf_counter()
            self._pending[call_id] = _Pending(provider.id, principal, on_done, started, is_hook)
        envelope = Envelope(
            TOOL_PREFIX + tool,
            payload,
            kind,
            principal=principal,
            attribution=attribution,
            timestamp=format_timestamp(time.time_ns()),
        )
        try:
            matched = self._dispatcher.publish(
                envelope,
                skip=_handlers(others, TOOL_PREFIX + tool),
                cancel=cancel,
                on_done=lambda report: self._on_chain(call_id, tool, report, is_hook=is_hook),
            )
        except BaseException:
            self.forget(call_id)
            raise
        if is_hook and not matched:
            self._finish(call_id, not_found(tool, []))
        return StartedCall(call_id, timeout_s)

    def forget(self, call_id: str) -> None:
        """Drop a call whose outcome nobody waits for any more."""
        with self._lock:
            self._pending.pop(call_id, None)

    def catalogue(self, principal: Principal | None = None) -> list[ToolInfo]:
        """Every tool that can be called now, by name and capsule.

        Args:
            principal: Leaves out the tools of servers that it has no right to call; None for all.

        Raises:
            ConfigError: The principal's profile or the groups cannot be read.
        """
        return [
            described(name, capsule)
            for name, capsules in self._capsules.tools().items()
            for capsule in capsules
            if principal is None or capsule.may_see(principal, name)
        ]

    def close(self) -> None:
        """End every call that is still waiting."""
        self._stop_listening()
        self._stop_hearing()
        with self._lock:
            waiting = list(self._pending)
        for call_id in waiting:
            self._finish(call_id, GuestCancelledError("the kernel is closing"))

    def _find(self, name: str) -> tuple[str, Loaded, list[Loaded]]:
        """The tool, the capsule to ask, and the others that offer a tool of that name."""
        capsule_id, _, tool = name.rpartition(".")
        offering = self._capsules.offering(tool)
        named = [capsule for capsule in offering if not capsule_id or capsule.id == capsule_id]
        if not named:
            for capsule in self._capsules.failing(tool):
                if not capsule_id or capsule.id == capsule_id:
                    raise _not_ready(capsule.id)
            self._refuse_silent(capsule_id, tool)
            raise not_found(name, spellings(self._capsules.tools()))
        others = [capsule for capsule in offering if capsule is not named[0]]
        deaf = next((capsule for capsule in others if not capsule.answers_hooks()), None)
        if len(named) > 1 or deaf is not None:
            listed = ", ".join(f"{capsule.id}.{tool}" for capsule in offering)
            raise ToolNotFoundError(
                f"several capsules offer a tool called {tool!r}",
                code="tool.ambiguous",
                hint=f"name one of: {listed}"
                if deaf is None
                else f"remove one: {deaf.id!r} hears every call of {tool!r} in its run loop",
            )
        if not named[0].answers_hooks() and not named[0].health().ok:
            raise _not_ready(named[0].id)  # the loop has ended, and nobody has looked yet
        return tool, named[0], others

    def _refuse_silent(self, capsule_id: str, tool: str) -> None:
        for capsule in self._capsules.all():
            if capsule.id == capsule_id and capsule.runs_servers and not capsule.tool_names:
                raise ToolNotFoundError(
                    f"{capsule_id}.{tool} is not there: no server of {capsule_id!r} has said what "
                    "it offers",
                    hint=f"it may not have started: astrid logs {capsule_id}",
                )

    def _on_failure(self, envelope: Envelope) -> None:
        """A capsule has failed: nobody answers what its run loop was asked."""
        if envelope.principal is not None:
            return
        try:
            notice = decode(envelope.kind, envelope.payload)
        except PayloadError:
            return
        data = notice.data if isinstance(notice, Custom) else None
        failed = data.get("capsule_id") if isinstance(data, Mapping) else None
        with self._lock:
            waiting = [
                call_id
                for call_id, call in self._pending.items()
                if call.provider == failed and not call.is_hook
            ]
        for call_id in waiting:
            self._finish(call_id, _not_ready(CapsuleId(str(failed))))

    def _on_result(self, envelope: Envelope) -> None:
        try:
            answer = decode(envelope.kind, envelope.payload)
        except PayloadError:
            return
        if not isinstance(answer, ToolExecuteResult):
            return
        with self._lock:
            call = self._pending.get(answer.call_id)
        # By capsule, not by load: the one that answers may have replaced the one that was asked.
        speaker = self._capsules.speaker(envelope.source_id)
        if call is None or speaker != call.provider or envelope.principal != call.principal:
            return
        result = ToolResult(
            content=answer.result.content,
            is_error=answer.result.is_error,
            capsule=speaker,
            duration_ms=(time.perf_counter() - call.started) * 1000,
            blocks=tuple(answer.result.blocks or ()),
            structured=answer.result.structured,
        )
        self._finish(answer.call_id, result)

    def _on_chain(self, call_id: str, tool: str, report: ChainReport, *, is_hook: bool) -> None:
        if not is_hook and report.end in {ChainEnd.COMPLETED, ChainEnd.FINAL}:
            return  # the run loop got the message all the same; what watched it does not matter
        problem = _problem(tool, report)
        if problem is None:
            problem = ToolError(
                f"{tool!r} ended without an answer",
                code="tool.no-answer",
                hint="the capsule has to publish a result for every call",
            )
        if problem is not None:
            self._finish(call_id, problem)

    def _finish(self, call_id: str, outcome: Outcome) -> None:
        with self._lock:
            call = self._pending.pop(call_id, None)
        if call is not None:
            call.on_done(outcome)


def _not_ready(capsule_id: CapsuleId) -> CapsuleNotFoundError:
    return CapsuleNotFoundError(
        f"capsule {capsule_id} has failed",
        code="capsule.not-ready",
        hint="it may be started again; 'astrid ps' shows its state, "
        f"'astrid logs {capsule_id}' says why",
    )


def _admit(capsule: Loaded, principal: Principal, tool: str, payload: bytes) -> float:
    """Check and record a message to a run loop; returns the principal's time limit in seconds.

    Interceptor calls are checked where they enter the guest; a message has no such place.

    Raises:
        DeniedError: The principal is disabled, or a policy refused.
        ConfigError: The profile cannot be read.
        AuditError: It could not be recorded.
    """
    profile = capsule.profiles.profile(principal)
    grant = capsule.gate.check_invoke(
        principal, capsule.id, TOOL_PREFIX + tool, enabled=profile.enabled
    )
    record_tool_call(
        capsule.audit,
        principal=principal,
        capsule=capsule.id,
        tool=tool,
        payload=payload,
        rule=grant.rule,
    )
    return profile.limits().timeout_s or Limits().timeout_s or 0.0


def _problem(tool: str, report: ChainReport) -> Exception | None:
    """Why a chain cannot have answered, None when it ran to its end."""
    if report.end is ChainEnd.DENIED:
        last = report.members[-1]
        reason = last.outcome.reason if last.outcome is not None else ""
        return PolicyDeniedError(
            f"{tool!r} was refused: {reason}", rule=f"interceptor:{last.capsule}.{last.action}"
        )
    if report.end is ChainEnd.CANCELLED:
        return GuestCancelledError(f"{tool!r} was cancelled")
    if report.end is ChainEnd.DROPPED:
        return QuotaExceededError(
            f"too many calls are waiting for {tool!r}",
            rule="dispatch-queue",
            hint="wait for earlier calls to finish",
        )
    return report.first_error


def _handlers(capsules: Iterable[Loaded], topic: str) -> frozenset[tuple[CapsuleId, str]]:
    """What the capsules would answer a call on exactly this topic with; their guards stay."""
    return frozenset(
        (capsule.id, binding.action)
        for capsule in capsules
        for binding in capsule.bindings
        if binding.topic == topic
    )
