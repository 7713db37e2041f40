"""One loaded capsule: its engine parts, and the path of a call into them.

Trusted with the order of a call: profile, gate, record, engine. No guest code runs before the gate
agreed, and none answers a tool call that is not on record.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Literal

from astrid_core.domain.capability import Decision, Outcome
from astrid_core.domain.capsule_meta import BakedTopic, ToolDescription
from astrid_core.domain.kernel_request import METHODS
from astrid_core.domain.manifest import Manifest
from astrid_core.domain.topic import TOOL_PREFIX
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.pulse import Beat
from astrid_core.kernel.audit.tool_calls import record_server_call, record_tool_call
from astrid_core.kernel.consent import Consent
from astrid_core.kernel.cpu_meter import CpuMeter
from astrid_core.kernel.engine_faults import engine_faults
from astrid_core.kernel.latency import Latencies
from astrid_core.kernel.processes.cancelling import call_id_of
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.ports.audit import AuditTrail
from astrid_core.security.gate import Gate, Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.server_checks import tool_right
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import (
    Call,
    Caller,
    CapsuleSpec,
    GuestResult,
    Health,
    InterceptorBinding,
    Limits,
    LoadedCapsule,
    MemoryUse,
    Readiness,
)
from astrid_hookspecs.errors import (
    AstridError,
    GuestLimitError,
    GuestTimeoutError,
    GuestTrapError,
    UnsupportedActionError,
)
from astrid_hookspecs.tool_servers import OfferedTool
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, Principal

UNLOAD_GRACE_S: Final = 5.0
TOOL_ACTION: Final = "tool_execute_"
_PATIENCE_S: Final = 300.0

_CALL_RIGHT: Final = METHODS["CallTool"].right
_NO_CALLS: Final = frozenset({Outcome.DISABLED, Outcome.REVOKED})

State = Literal["loading", "ready", "failed", "unloading"]
Rights = Callable[[Principal, str], Decision]


def closed(principal: Principal, right: str) -> Decision:
    """Rights where nobody holds any."""
    del principal, right
    return Decision(Outcome.MISSING)


@dataclass(slots=True)
class Loaded:
    """A capsule in the kernel. Implements the dispatcher's `RunnableCapsule`.

    Attributes:
        spec: As the engines got it.
        manifest: Validated.
        grants: What it may do.
        parts: One per engine entry, in the order they are asked.
        host: The kernel's side of it.
        tools: Descriptions recorded at installation.
        topics: The same, of its topics.
        profiles: Limits and the enabled switch of callers.
        gate: Decides about every entry.
        cpu: What principals used of the processor.
        audit: Has every tool call.
        state: Where it is in its life.
        problem: Why it failed, for people.
        told: The same for everybody who listens: nothing of the host is in it.
        owner: For whom it was loaded; calls without a principal run for it.
        latencies: How long its latest calls took.
        fault: How its latest call was stopped; empty when it came back.
        since: When it was loaded, on the monotonic clock.
        consent: Asks a person about a tool of a server, where the operator wants that.
        rights: Whether a principal holds a capability; decides about tools of servers.
    """

    spec: CapsuleSpec
    manifest: Manifest
    grants: CapsuleGrants
    parts: tuple[LoadedCapsule, ...]
    host: CapsuleHost
    tools: tuple[ToolDescription, ...]
    topics: tuple[BakedTopic, ...]
    profiles: ProfileStore
    gate: Gate
    cpu: CpuMeter
    audit: AuditTrail
    consent: Consent
    state: State = "loading"
    problem: str = ""
    told: str = ""
    owner: Principal = DEFAULT_PRINCIPAL
    latencies: Latencies = field(default_factory=Latencies)
    since: float = field(default_factory=time.monotonic)
    rights: Rights = closed
    fault: str = ""
    _tools: Mapping[tuple[str, str], str] = field(init=False)
    _running: int = 0
    _is_draining: bool = False
    _idle: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        names = {TOOL_PREFIX + name: name for name in self.manifest.tool_names}
        self._tools = {
            (binding.action, binding.topic): names[binding.topic]
            for binding in self.spec.bindings
            if binding.topic in names
        }

    @property
    def id(self) -> CapsuleId:
        """The capsule's id."""
        return self.spec.id

    @property
    def source_id(self) -> str:
        """UUID text of this load."""
        return self.spec.source_id

    @property
    def runs_servers(self) -> bool:
        """Whether foreign processes start with it."""
        return any(server.is_run for server in self.manifest.mcp_servers)

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Tools that it answers now: those of its manifest, then those of its servers."""
        return (*self.manifest.tool_names, *self.host.offered)

    @property
    def bindings(self) -> tuple[InterceptorBinding, ...]:
        """Its interceptors, those of its servers' tools included."""
        offered = (
            InterceptorBinding(TOOL_PREFIX + name, TOOL_ACTION + name) for name in self.host.offered
        )
        return (*self.spec.bindings, *offered)

    def check_tool(self, principal: Principal, tool: OfferedTool) -> Grant:
        """May the principal call this tool of a server?

        Raises:
            DeniedError: It lacks the right, or a policy refused.
            ConfigError: Its profile or the groups cannot be read.
        """
        return self.gate.check_server_tool(
            principal,
            self.id,
            server=tool.server,
            tool=tool.tool,
            decision=self.rights(principal, tool_right(self.id, tool.server, tool.tool)),
        )

    def may_see(self, principal: Principal, name: str) -> bool:
        """Whether a tool is shown to a principal: only where it may be called."""
        if self.rights(principal, _CALL_RIGHT).outcome in _NO_CALLS:
            return False
        tool = self.host.offered.get(name)
        if tool is None:
            return True
        return self.rights(principal, tool_right(self.id, tool.server, tool.tool)).is_allowed

    @property
    def shown_state(self) -> str:
        """For people: `state`, or `degraded` while it takes calls and its latest was stopped."""
        return "degraded" if self.state == "ready" and self.fault else self.state

    def answers_hooks(self) -> bool:
        """Whether interceptor calls can reach any part: a lone run loop answers none."""
        return any(not part.is_run_loop() for part in self.parts)

    def invoke(
        self, action: str, payload: bytes, envelope: Envelope, *, cancel: CancelToken | None
    ) -> GuestResult:
        """Run one interceptor call on the calling thread.

        Raises:
            DeniedError: The caller's profile or a policy refused, or its processor time is used
                up; no guest code ran.
            ConfigError: The caller's profile cannot be read; no guest code ran.
            AuditError: A tool call could not be recorded; no guest code ran.
            EngineError: As `LoadedCapsule.invoke`.
        """
        principal = envelope.principal or self.owner
        profile = self.profiles.profile(principal)
        grant = self.gate.check_invoke(principal, self.spec.id, action, enabled=profile.enabled)
        per_minute = profile.quotas.max_cpu_secs_per_minute
        self._check_cpu(principal, action, per_minute=per_minute)
        offered = self._offered(action, envelope.topic)
        tool = self._tools.get((action, envelope.topic))
        if offered is not None:
            grant = self.check_tool(principal, offered)
            self.consent(principal, self.id, offered, cancel=cancel)
            record_server_call(
                self.audit,
                principal=principal,
                server=f"{self.spec.id}:{offered.server}",
                tool=offered.tool,
                payload=payload,
                rule=grant.rule,
            )
        elif tool is not None:
            record_tool_call(
                self.audit,
                principal=principal,
                capsule=self.spec.id,
                tool=tool,
                payload=payload,
                rule=grant.rule,
            )
        caller = Caller(
            principal=envelope.principal,
            attribution=envelope.attribution,
            source_id=envelope.source_id,
            timestamp=envelope.timestamp,
            depth=envelope.depth,
        )
        call_id = call_id_of(envelope)
        call = Call(principal, self._limits(profile.limits()), caller, cancel, call_id)
        with self._idle:
            self._running += 1
        began_s, entered_s = time.thread_time(), time.perf_counter()
        try:
            result = self._ask_parts(action, payload, call)
        except (GuestTrapError, GuestTimeoutError, GuestLimitError) as error:
            self.fault = error.message
            raise
        else:
            self.fault = ""
            return result
        finally:
            self.latencies.add(time.perf_counter() - entered_s)
            self.cpu.charge(principal, time.thread_time() - began_s, per_minute=per_minute)
            with self._idle:
                self._running -= 1
                if self._is_draining:
                    self._idle.notify_all()

    def start(self) -> None:
        """Start the run loops; returns at once."""
        call = Call(self.owner, Limits(timeout_s=None))
        with engine_faults(self.spec.id):
            for part in self.parts:
                part.start(call)

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        """Wait for every part, one deadline for all; the first that is not ready decides."""
        deadline = time.monotonic() + timeout_s
        for part in self.parts:
            with engine_faults(self.spec.id):
                outcome = part.wait_ready(timeout_s=max(0.0, deadline - time.monotonic()))
            if outcome is not Readiness.READY:
                return outcome
        return Readiness.READY

    def health(self) -> Health:
        """The first unhealthy part's health, or a good one."""
        for part in self.parts:
            with engine_faults(self.spec.id):
                health = part.health()
            if not health.ok:
                return health
        return Health(ok=self.state == "ready", reason=self.problem)

    def beat(self) -> Beat | None:
        """The latest sign of life of a run loop; None without one."""
        return self.host.beat() if any(part.is_run_loop() for part in self.parts) else None

    def patience_s(self) -> float:
        """How long its run loop may compute without a call to the host: as long as a call may."""
        try:
            limits = self.profiles.profile(self.owner).limits()
        except AstridError:  # reported to those who call; here any bound is better than none
            limits = Limits()
        return limits.timeout_s or _PATIENCE_S

    def drain(self, *, timeout_s: float) -> bool:
        """Wait until no interceptor call is running; False when the time is over."""
        with self._idle:
            self._is_draining = True
            return self._idle.wait_for(lambda: self._running == 0, timeout_s)

    def unload(self, *, grace_s: float) -> None:
        """Stop every part, last loaded first, also when one of them cannot be stopped.

        Raises:
            EngineError: As `LoadedCapsule.unload`.
        """
        self.state = "unloading"
        with engine_faults(self.spec.id), ExitStack() as stopping:
            for part in self.parts:
                stopping.callback(part.unload, grace_s=grace_s)

    def stats(self) -> dict[str, int]:
        """Counters of all parts, summed."""
        total: dict[str, int] = {}
        for part in self.parts:
            for name, value in part.stats().items():
                total[name] = total.get(name, 0) + value
        return total

    def memory(self) -> list[tuple[Principal, MemoryUse]]:
        """What the guests of each principal use, in every part."""
        return [use for part in self.parts for use in part.memory().items()]

    def _offered(self, action: str, topic: str) -> OfferedTool | None:
        name = topic.removeprefix(TOOL_PREFIX)
        return self.host.offered.get(name) if action == TOOL_ACTION + name else None

    def _check_cpu(self, principal: Principal, action: str, *, per_minute: int) -> None:
        wait_s = self.cpu.wait_s(principal, per_minute=per_minute)
        if wait_s > 0:
            raise self.gate.over_quota(
                principal,
                self.spec.id,
                action,
                rule="max_cpu_secs_per_minute",
                message=f"{principal!r} used more than {per_minute} s of processor time a minute",
                hint=f"try again in {math.ceil(wait_s)} s, or raise max_cpu_secs_per_minute",
                retry_after_ms=math.ceil(wait_s * 1000),
            )

    def _limits(self, limits: Limits) -> Limits:
        return limits._replace(timeout_s=None) if self.spec.is_daemon else limits

    def _ask_parts(self, action: str, payload: bytes, call: Call) -> GuestResult:
        for part in self.parts:
            try:
                with engine_faults(self.spec.id):
                    return part.invoke(action, payload, call)
            except UnsupportedActionError:
                continue
        raise UnsupportedActionError(
            f"capsule {self.spec.id!r} has nothing that answers {action!r}"
        )
