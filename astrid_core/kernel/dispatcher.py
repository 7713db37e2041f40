"""Brings events to the interceptors that are bound to their topics.

Trusted with reaching every bound interceptor of a ready capsule exactly once for each event, in a
fixed order, and with never letting a publisher wait. Nothing is decided here about permission.

Spec: capsules-and-bus 7.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.hook_result import Effect, Outcome
from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import Custom
from astrid_core.domain.topic import EVERYTHING, LAG_TOPIC, MAX_CAUSAL_DEPTH
from astrid_core.domain.topic_trie import Matcher, TopicTrie
from astrid_core.kernel.chain import (
    CapsuleDirectory,
    ChainEnd,
    ChainReport,
    Member,
    RunnableCapsule,
    run_chain,
)
from astrid_core.kernel.describe import DESCRIBE_ACTION, describe_reply
from astrid_core.kernel.mailboxes import Bounds, Mailboxes, MailboxKey
from astrid_core.kernel.turns import Turns
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import InterceptorBinding
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

LAG_PAUSE_S: Final = 10.0

OnDone = Callable[[ChainReport], None]
HandlerName = tuple[CapsuleId, str]
"""A capsule and one of its actions."""


@dataclass(slots=True)
class _Ticket:
    """What a caller of `Dispatcher.publish` wants for its own event, and the answer to it."""

    envelope: Envelope
    skip: Collection[HandlerName]
    on_done: OnDone | None
    cancel: CancelToken | None
    matches: int = 0


@dataclass(frozen=True, slots=True)
class _Delivery:
    """An event on its way through its chain."""

    members: tuple[Member, ...]
    envelope: Envelope
    on_done: OnDone | None
    cancel: CancelToken | None


class Dispatcher:
    """Matches events with bindings and runs the chains on the worker pool.

    All events of a principal whose chains begin with the same capsule are handled in the order in
    which they were dispatched. A chain runs on the queue of its first capsule and takes each
    capsule in turn, never two at once. Every method may be called from any thread.

    Args:
        bus: Whose events are dispatched, and where notices and descriptions are published.
        pool: Runs the chains; the caller closes it.
        directory: Finds the capsules.
        bounds: How much may wait.
        turns: Whose events are handled before whose.
        clock: Monotonic seconds.
        wall_ns: Nanoseconds since 1970, for time stamps.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        pool: WorkerPool,
        directory: CapsuleDirectory,
        bounds: Bounds | None = None,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bus = bus
        self._pool = pool
        self._directory = directory
        self._clock = clock
        self._wall_ns = wall_ns
        self._mailboxes: Mailboxes[_Delivery] = Mailboxes(
            pool, handle=self._handle, bounds=bounds, turns=turns, clock=clock
        )
        self._lock = threading.Lock()
        self._bindings: TopicTrie[Member] = TopicTrie(Matcher.ACL, sort_key=lambda member: member)
        self._handles: dict[CapsuleId, list[int]] = {}
        self._counts = dict.fromkeys(
            ("dispatched", "dropped", "too_deep", "completed", "final", "denied", "cancelled"), 0
        )
        self._lag = _LagNotice(bus, pool, clock=clock, wall_ns=wall_ns)
        self._local = threading.local()
        self._stop_listening: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to dispatch what is published on the bus. Starting twice is not an error."""
        with self._lock:
            if self._stop_listening is None:
                self._stop_listening = self._bus.add_listener(EVERYTHING, self._on_event)

    def set_bindings(self, capsule_id: CapsuleId, bindings: Iterable[InterceptorBinding]) -> None:
        """Replace the interceptors of a capsule, which take part from the next event on.

        Args:
            capsule_id: Whose.
            bindings: In declaration order.
        """
        with self._lock:
            self._remove_locked(capsule_id)
            self._handles[capsule_id] = [
                self._bindings.insert(
                    binding.topic, Member(binding.priority, capsule_id, index, binding.action)
                )
                for index, binding in enumerate(bindings)
            ]

    def remove_bindings(self, capsule_id: CapsuleId) -> None:
        """Forget the interceptors of a capsule; events that wait for it are skipped later."""
        with self._lock:
            self._remove_locked(capsule_id)

    def publish(
        self,
        envelope: Envelope,
        *,
        skip: Collection[HandlerName] = (),
        on_done: OnDone | None = None,
        cancel: CancelToken | None = None,
    ) -> int:
        """Publish on the bus and dispatch, as one event, with news of what became of it.

        Subscribers and listeners of the bus receive the envelope like any other. Arguments, result
        and errors otherwise as for `dispatch`; 0 also before `start`.
        """
        outer = getattr(self._local, "ticket", None)
        ticket = self._local.ticket = _Ticket(envelope, skip, on_done, cancel)
        try:
            # The bus calls `_on_event` in this thread before it returns.
            self._bus.publish(envelope)
        finally:
            self._local.ticket = outer
        return ticket.matches

    def dispatch(
        self,
        envelope: Envelope,
        *,
        skip: Collection[HandlerName] = (),
        on_done: OnDone | None = None,
        cancel: CancelToken | None = None,
    ) -> int:
        """Bring an event to its interceptors without publishing it; returns without waiting.

        For events that subscribers must not see, such as those of the capsules' life cycle.

        Args:
            envelope: The event.
            skip: Handlers that are not asked, by capsule and action.
            on_done: Called once if anything matched: on a worker thread, or before this returns
                when the event is dropped. It returns quickly and does not raise.
            cancel: Stops the chain, whether it waits or runs.

        Returns:
            How many interceptors matched.
        """
        if envelope.depth > MAX_CAUSAL_DEPTH:  # publishers refuse these; this is the second lock
            self._count("too_deep")
            logger.warning("an event on {!r} is too deep to be dispatched", envelope.topic)
            return 0
        self._lag.publish_if_due()
        with self._lock:
            members = self._bindings.match(envelope.topic)
            if skip:
                members = tuple(one for one in members if (one.capsule, one.action) not in skip)
            if not members:
                return 0
            self._counts["dispatched"] += 1
        key = MailboxKey(members[0].capsule, envelope.principal or DEFAULT_PRINCIPAL)
        delivery = _Delivery(members, envelope, on_done, cancel)
        if not self._mailboxes.offer(key, delivery, size_bytes=len(envelope.payload)):
            self._lag.add_one()
            self._finish(delivery, ChainReport(ChainEnd.DROPPED))
        return len(members)

    def stop(self) -> None:
        """Dispatch nothing more and give up what waits; running chains go on.

        Call it before capsules are unloaded. Stopping twice is not an error.
        """
        with self._lock:
            stop_listening, self._stop_listening = self._stop_listening, None
        if stop_listening is not None:
            stop_listening()
        for delivery in self._mailboxes.stop():
            self._finish(delivery, ChainReport(ChainEnd.CANCELLED))

    def close(self, *, timeout_s: float) -> bool:
        """Stop, then wait for running chains; returns whether they ended in time."""
        self.stop()
        return self._mailboxes.wait_quiet(timeout_s=timeout_s)

    def stats(self) -> Mapping[str, int]:
        """Events by what became of them, and what waits and runs now."""
        with self._lock:
            counts = dict(self._counts)
            counts["bindings"] = len(self._bindings)
        return {**counts, **self._mailboxes.stats()}

    def _on_event(self, envelope: Envelope) -> None:
        """Dispatch what the bus publishes, for `publish` with what its caller asked for."""
        ticket: _Ticket | None = getattr(self._local, "ticket", None)
        # Another listener may have published in this thread meanwhile: that event has no ticket.
        if (
            ticket is None
            or envelope.topic != ticket.envelope.topic
            or envelope.payload != ticket.envelope.payload
        ):
            self.dispatch(envelope)
            return
        self._local.ticket = None
        ticket.matches = self.dispatch(
            envelope, skip=ticket.skip, on_done=ticket.on_done, cancel=ticket.cancel
        )

    def _handle(self, delivery: _Delivery) -> None:
        report = run_chain(
            delivery.members,
            delivery.envelope,
            directory=self._directory,
            cancel=delivery.cancel,
            after=self._publish_description,
        )
        self._finish(delivery, report)

    def _finish(self, delivery: _Delivery, report: ChainReport) -> None:
        self._count(report.end.value)
        if delivery.on_done is None:
            return
        try:
            delivery.on_done(report)
        except Exception as error:  # noqa: BLE001 - events behind this one do not depend on it
            logger.error(
                "the caller of an event on {!r} failed: {}",
                delivery.envelope.topic,
                failure_text(error),
            )

    def _publish_description(
        self, member: Member, capsule: RunnableCapsule, outcome: Outcome, envelope: Envelope
    ) -> None:
        if (
            member.action != DESCRIBE_ACTION
            or outcome.effect is not Effect.CONTINUE
            or not outcome.data
        ):
            return
        reply = describe_reply(
            envelope,
            data=outcome.data,
            source_id=capsule.source_id,
            timestamp=format_timestamp(self._wall_ns()),
        )
        if reply is not None:
            self._bus.publish(reply)

    def _remove_locked(self, capsule_id: CapsuleId) -> None:
        for handle in self._handles.pop(capsule_id, ()):
            self._bindings.remove(handle)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1


class _LagNotice:
    """Tells the bus how many events the dispatcher dropped, at most every ten seconds [C-27].

    A job of the worker pool: it is called from a listener, which must not publish itself.
    """

    def __init__(
        self,
        bus: Bus,
        pool: WorkerPool,
        *,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._pool = pool
        self._clock = clock
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._pending = 0
        self._noticed_at = float("-inf")

    def add_one(self) -> None:
        with self._lock:
            self._pending += 1

    def publish_if_due(self) -> None:
        if not self._pending:  # an unlocked look: nearly always there is nothing to do
            return
        with self._lock:
            now = self._clock()
            if not self._pending or now - self._noticed_at < LAG_PAUSE_S:
                return
            self._noticed_at = now
        self._pool.submit(self)

    def run_one(self) -> bool:
        with self._lock:
            count, self._pending = self._pending, 0
        kind, payload = encode(Custom(data={"lagged_count": count}))
        timestamp = format_timestamp(self._wall_ns())
        self._bus.publish(Envelope(LAG_TOPIC, payload, kind, timestamp=timestamp))
        return False
