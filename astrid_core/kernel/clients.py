"""What clients of the kernel do: requests, tool calls, messages, each checked before it happens.

Trusted with attribution: a client's message carries the principal and the source id that the caller
of this module decided, never what the client wrote. Who is allowed what is the gate's business.
Every method may be called from any thread. Spec: kernel-and-security 4, 16 D-12, D-16, D-18, D-19.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from loguru import logger

from astrid_core.domain.capability import Group
from astrid_core.domain.kernel_request import METHODS
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.profile import Profile
from astrid_core.domain.rate import RateLimiter
from astrid_core.domain.tool_filter import EVERYTHING, ToolFilter
from astrid_core.domain.topic import (
    APPROVAL_ANSWERS,
    ELICIT_ANSWERS,
    check_publish_topic,
    check_subscribe_pattern,
    is_private,
)
from astrid_core.kernel.approval_messages import take_answer
from astrid_core.kernel.assembly import Parts, admin_of
from astrid_core.kernel.elicit_messages import take_elicited
from astrid_core.kernel.names_said import NamesSaid
from astrid_core.kernel.request_guard import RequestGuard
from astrid_core.kernel.tools import Outcome, StartedCall
from astrid_core.security.clients import may_hear
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import (
    AstridError,
    ConfigError,
    DeniedError,
    QuotaExceededError,
    StoreError,
)
from astrid_hookspecs.values import Principal


class ClientAccess:
    """The door through which clients reach a kernel.

    Args:
        parts: Of the kernel.

    Attributes:
        admin: Answers management requests.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.admin = admin_of(parts)
        self._lock = threading.Lock()
        self._requests = RequestGuard(parts.principals, parts.gate, parts.audit)
        self._bytes = RateLimiter()
        self._names = NamesSaid(parts.profiles, parts.audit)

    @property
    def may_wait(self) -> bool:
        """Whether what is asked here may have to wait for a policy, and no event loop should."""
        return self._parts.plugins.has_policies

    def session_token(self) -> bytes:
        """What clients of this boot have to know, 32 bytes; they can read it on return.

        Raises:
            ConfigError: `session.token`: it cannot be written.
        """
        try:
            return self._parts.session.value()
        except OSError as error:
            raise ConfigError(
                f"the token of clients cannot be written: {error.strerror or error}",
                code="session.token",
                hint="run/ of the home must be on a disk that has room and can be written",
            ) from error

    def attribute(self, principal: Principal, named: Principal) -> Attribution:
        """How sure the kernel is of a frame that names a principal.

        Args:
            principal: Of its connection.
            named: Whom it names.

        Returns:
            VERIFIED for the connection's own principal, else CLAIMED.

        Raises:
            DeniedError: The connection may not speak for that principal, or clients named too many.
            AuditError: It could not be recorded who speaks; the frame must not be acted on.
        """
        if named == principal:
            return Attribution.VERIFIED
        self._parts.gate.check_client_principal(principal, named)
        self._names.speak(principal, named)
        return Attribution.CLAIMED

    def meet(self, principal: Principal) -> None:
        """Count a principal that a client connects for.

        Raises:
            QuotaExceededError: Clients named too many that nobody knows.
        """
        self._names.meet(principal)

    def authorise(self, principal: Principal, method: str) -> None:
        """Decide about a request, count it, record it; in this order.

        Args:
            principal: Who asks.
            method: A key of `METHODS`.

        Raises:
            DeniedError: The gate refused; or, with the rule `requests-per-minute`, it was one too
                many.
            ConfigError: The principal's profile cannot be read.
            AuditError: It could not be recorded; it must not be acted on.
        """
        self._requests.admit(principal, method, METHODS[method])

    def end_session(self, principal: Principal) -> None:
        """Forget what a principal was given for as long as one of its clients is there.

        Spec: kernel-and-security 12.2, vector 177.
        """
        self._parts.principals.tokens.forget_session(principal)
        self._parts.principals.budgets.end_session(principal)
        try:
            self._parts.principals.allowances.clear(principal, session_only=True)
        except StoreError as error:
            logger.error("the session of {} has ended, but not in the store: {}", principal, error)

    def check_right(self, principal: Principal, method: str, right: str) -> None:
        """Refuse a request that was authorised, and needs another right for what it is about.

        Raises:
            DeniedError: The principal does not hold it.
            ConfigError: The principal's profile cannot be read.
        """
        self._requests.check(principal, method, right)

    def record_failure(self, principal: Principal, method: str, error: AstridError) -> None:
        """Record that an authorised request failed; it has happened, so this never raises."""
        self._requests.record_failure(principal, method, METHODS[method], error)

    def start_call(
        self,
        name: str,
        arguments: Mapping[str, object],
        *,
        principal: Principal,
        cancel: CancelToken,
        on_done: Callable[[Outcome], None],
        attribution: Attribution = Attribution.VERIFIED,
        offered: ToolFilter = EVERYTHING,
    ) -> StartedCall:
        """Ask for a tool call; the other arguments and errors are those of `ToolCalls.start`.

        Args:
            name: As there.
            arguments: As there.
            principal: As there.
            cancel: As there.
            on_done: As there.
            attribution: As there.
            offered: Which tools the client offers to those behind it.

        Raises:
            DeniedError: The gate refused.
        """
        self._check_request(principal, "CallTool")
        if offered.texts:
            self._parts.gate.check_client_call(principal, name, offered=offered)
        return self._parts.tools.start(
            name,
            arguments,
            principal=principal,
            cancel=cancel,
            on_done=on_done,
            attribution=attribution,
        )

    def forget_call(self, call_id: str) -> None:
        """Drop a call whose outcome nobody waits for any more."""
        self._parts.tools.forget(call_id)

    def publish(
        self,
        topic: str,
        *,
        kind: str,
        payload: bytes,
        principal: Principal,
        source_id: str,
        attribution: Attribution = Attribution.VERIFIED,
    ) -> None:
        """Publish a client's message.

        Args:
            topic: As the client wrote it.
            kind: Payload variant.
            payload: JSON text in the form guests receive.
            principal: On whose behalf.
            source_id: UUID text of the connection.
            attribution: From `attribute`.

        Raises:
            TopicError: It is malformed.
            DeniedError: The gate refused, or the principal's budget is used up.
            ApprovalError, ElicitError: It answers a question, and cannot.
            ConfigError: The principal's profile cannot be read.
        """
        check_publish_topic(topic)
        profile = self._parts.profiles.profile(principal)
        self._parts.gate.check_client_publish(principal, topic, enabled=profile.enabled)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise QuotaExceededError(
                f"a payload of {len(payload)} bytes is too long; at most {MAX_PAYLOAD_BYTES}",
                rule="payload-size",
                hint="pass a path or a key instead of the content",
            )
        with self._lock:
            is_within = self._bytes.allow(
                principal,  # of all its connections together
                size_bytes=len(payload),
                ceiling_bytes=profile.quotas.max_ipc_throughput_bytes,
                now=time.monotonic(),
            )
        if not is_within:
            raise QuotaExceededError(
                f"{principal!r} publishes more than its bytes per second",
                rule="max_ipc_throughput_bytes",
                hint=f"raise it in etc/profiles/{principal}.toml, or publish less",
            )
        if topic.startswith((APPROVAL_ANSWERS, ELICIT_ANSWERS)):
            self._check_request(principal, "ApproveCapability")
        if topic.startswith(ELICIT_ANSWERS):
            # It may be a secret: it goes to who asked, and nowhere else.
            take_elicited(
                self._parts.principals.elicitations,
                topic,
                kind=kind,
                payload=payload,
                principal=principal,
            )
            return
        if topic.startswith(APPROVAL_ANSWERS):
            take_answer(
                self._parts.principals.approvals,
                topic,
                kind=kind,
                payload=payload,
                principal=principal,
            )
        self._parts.bus.publish(
            Envelope(
                topic,
                payload,
                kind,
                source_id=source_id,
                principal=principal,
                attribution=attribution,
                timestamp=format_timestamp(time.time_ns()),
            )
        )

    def subscribe(
        self, pattern: str, *, principal: Principal, deliver: Callable[[Envelope], object]
    ) -> Callable[[], None]:
        """Hear messages that match and concern the client's principal.

        Whether it may is looked at again after every change of the principal's profile or of the
        groups, before the next message.

        Args:
            pattern: As the client wrote it.
            principal: For whom the client acts.
            deliver: Called in the publisher's thread; returns quickly and never raises.

        Returns:
            A function that ends the subscription.

        Raises:
            TopicError: The pattern is malformed.
            DeniedError: The gate refused.
            ConfigError: The principal's profile cannot be read.
        """
        check_subscribe_pattern(pattern)
        self._check_subscription(principal, pattern)
        seen = (*self._standing(principal), True)

        def hear(envelope: Envelope) -> None:
            nonlocal seen
            topic = envelope.topic
            if not may_hear(principal, envelope.principal, topic=topic) or is_private(topic):
                return
            try:
                profile, groups = self._standing(principal)
                if profile is not seen[0] or groups is not seen[1]:
                    seen = (profile, groups, False)
                    self._check_subscription(principal, pattern)
                    seen = (profile, groups, True)
            except (DeniedError, ConfigError) as error:
                logger.debug("{} does not hear {} any more: {}", principal, pattern, error)
                return
            if seen[2]:
                deliver(envelope)

        return self._parts.bus.add_listener(pattern, hear)

    def listen(self, pattern: str, listener: Callable[[Envelope], None]) -> Callable[[], None]:
        """Call `listener` with every message that matches, whoever it concerns: for the kernel.

        Args and Returns: As `Bus.add_listener`.
        """
        return self._parts.bus.add_listener(pattern, listener)

    def _standing(self, principal: Principal) -> tuple[Profile, Mapping[str, Group]]:
        """What its rights follow from; the same objects while nothing changes."""
        authority = self._parts.principals.authority
        return authority.profiles.profile(principal), authority.groups.groups()

    def _check_subscription(self, principal: Principal, pattern: str) -> None:
        self._check_request(principal, "Subscribe")
        self._parts.gate.check_client_subscribe(principal, pattern)

    def _check_request(self, principal: Principal, method: str) -> None:
        self._requests.check(principal, method, METHODS[method].right)
