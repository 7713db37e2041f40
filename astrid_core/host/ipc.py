"""Host functions of `astrid:ipc@1.0.0`: publish, subscribe, receive.

Trusted with what leaves a capsule under whose name. The order of checks is part of the interface:
guests tell "too fast" from "not allowed" by it. Spec: host-abi 10.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from astrid_core.domain.payload import (
    MAX_PAYLOAD_BYTES,
    MAX_REQUEST_BYTES,
    PayloadError,
    normalise,
    request_method,
)
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.request_topics import ADMIN_PREFIX, REQUEST_PREFIX
from astrid_core.domain.topic import (
    MAX_CAUSAL_DEPTH,
    TopicError,
    check_publish_topic,
    check_subscribe_pattern,
    check_topic_length,
    matches_acl,
)
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.instance import Instance, Waited
from astrid_core.host.pollable import Pollable
from astrid_core.host.subscription import Subscription
from astrid_hookspecs.buses import Attribution, Batch, BusSubscription, Envelope
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal, is_principal

MAX_SUBSCRIPTIONS: Final = 128
MAX_RECV_MS: Final = 60_000
_NS_PER_S: Final = 1_000_000_000


class MessageRecord(NamedTuple):
    """The record `ipc-message`."""

    topic: str
    payload: str
    source_id: str
    principal: tuple[str, str | None]


class EnvelopeRecord(NamedTuple):
    """The record `ipc-envelope`."""

    messages: list[MessageRecord]
    dropped: int
    lagged: int


class BindingRecord(NamedTuple):
    """The record `interceptor-binding`."""

    handle_id: int
    action: str
    topic: str


class IpcHost(HostPackage):
    """The functions of `astrid:ipc/host@1.0.0`."""

    interface = "astrid:ipc/host@1.0.0"

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._live: set[Subscription] = set()
        self._prepared: dict[str, BusSubscription] = {}
        self._handler_topics = (
            frozenset()
            if instance.purpose == "lifecycle"
            else frozenset(binding.topic for binding in instance.context.bindings)
        )

    def prepare_bindings(self) -> None:
        """Subscribe to every handler's topic, before guest code of a run loop starts."""
        self.instance.hold(self)
        for topic in sorted(self._handler_topics):
            self._prepared[topic] = self.instance.subscribe(topic)

    def unclaimed(self) -> tuple[str, ...]:
        """Prepared topics that the guest has not subscribed to."""
        return tuple(self._prepared)

    def drop(self) -> None:
        """Give up what was prepared and never taken."""
        prepared, self._prepared = list(self._prepared.values()), {}
        for queue in prepared:
            self.instance.unsubscribe(queue)

    @handles("publish")
    def publish(self, topic: str, payload: str) -> None:
        """Publish in the name of the effective principal.

        What a claimed message causes stays a claim: it must not come out verified on the other side
        of a capsule.
        """
        self._publish(
            topic,
            payload,
            principal=self.instance.principal,
            attribution=self.instance.attribution,
        )

    @handles("publish-as")
    def publish_as(self, topic: str, payload: str, principal: str) -> None:
        """Publish in the name of another principal, as a claim. Only for uplinks."""
        instance = self.instance
        services, claimed = instance.services, Principal(principal)
        is_valid = is_principal(principal)
        services.gate.check_publish_as(
            instance.grants,
            instance.principal,
            claimed,
            enabled=not is_valid or services.profiles.is_enabled(claimed),
        )
        if not is_valid:
            raise WitError("invalid-input")
        services.gate.check_claim(instance.grants, instance.principal, claimed, topic)
        services.claims.admit(instance.context.id, claimed)
        self._publish(topic, payload, principal=claimed, attribution=Attribution.CLAIMED)

    @handles("subscribe")
    def subscribe(self, topic_pattern: str) -> Subscription:
        """Receive what matches from now on; for a handler's topic of a run loop, since load."""
        is_exact = self._check_subscribe(topic_pattern)
        if len(self._live) >= MAX_SUBSCRIPTIONS:
            raise WitError("quota")
        queue = self._prepared.pop(topic_pattern, None)
        if queue is None:
            queue = self.instance.subscribe(topic_pattern)
        subscription = Subscription(queue, exact=is_exact, hears=self._hears, dropped=self._forget)
        self._live.add(subscription)
        self.instance.hold(subscription)
        return subscription

    @handles("get-interceptor-bindings")
    def get_interceptor_bindings(self) -> list[BindingRecord]:
        """The manifest's handlers, for capsules with a run loop."""
        if self.instance.purpose != "run":
            return []
        return [
            BindingRecord(index, binding.action, binding.topic)
            for index, binding in enumerate(self.instance.context.bindings)
        ]

    @handles("[method]subscription.poll")
    def poll(self, subscription: Subscription) -> EnvelopeRecord:
        """Take what is queued."""
        return self._received(subscription.take())

    @handles("[method]subscription.recv")
    def recv(self, subscription: Subscription, timeout_ms: int) -> EnvelopeRecord:
        """Wait for a message, then take what is queued; nothing in time is an empty batch."""
        clock = self.instance.services.clock
        end = clock.monotonic() + min(timeout_ms, MAX_RECV_MS) / 1000
        lagged = 0
        while True:
            remaining = max(0.0, end - clock.monotonic())
            waited = self.instance.wait((subscription,), timeout_s=remaining)
            if waited is Waited.CANCELLED:
                return self._received(Batch((), lagged))
            batch = subscription.take()
            lagged += batch.lagged
            if batch.messages or waited is Waited.TIMEOUT:
                return self._received(Batch(batch.messages, lagged))

    @handles("[method]subscription.subscribe-readiness")
    def subscribe_readiness(self, subscription: Subscription) -> Pollable:
        """A pollable that is ready while messages wait, and after the subscription is gone."""
        return Pollable(subscription)

    def _publish(
        self, topic: str, payload: str, *, principal: Principal, attribution: Attribution
    ) -> None:
        instance, services = self.instance, self.instance.services
        source = instance.context.spec.source_id
        try:
            check_topic_length(topic)
            size = len(payload.encode("utf-8", "replace"))
            ceiling = services.profiles.quotas(principal).max_ipc_throughput_bytes
            now = services.clock.monotonic()
            if not services.rate.fits(source, principal, size_bytes=size, ceiling=ceiling, now=now):
                raise WitError("rate-limited")
            check_publish_topic(topic)
            services.gate.check_publish(instance.grants, instance.principal, topic)
            is_asked = topic.startswith((REQUEST_PREFIX, ADMIN_PREFIX))
            if size > (MAX_REQUEST_BYTES if is_asked else MAX_PAYLOAD_BYTES):
                raise WitError("invalid-input")
            kind, guest_json = normalise(payload)
            if topic.startswith(REQUEST_PREFIX):
                method = request_method(kind, guest_json)
                services.gate.check_request(
                    instance.grants, instance.principal, topic, method=method
                )
        except (TopicError, PayloadError) as error:
            raise WitError("invalid-input") from error
        depth = instance.depth + 1
        if depth > MAX_CAUSAL_DEPTH:
            raise WitError("backpressure")
        if not services.rate.charge(source, principal, size_bytes=size, ceiling=ceiling, now=now):
            raise WitError("rate-limited")
        services.bus.publish(
            Envelope(
                topic=topic,
                payload=guest_json,
                kind=kind,
                source_id=source,
                principal=principal,
                attribution=attribution,
                timestamp=format_timestamp(int(services.clock.now() * _NS_PER_S)),
                depth=depth,
            )
        )

    def _check_subscribe(self, pattern: str) -> bool:
        """Check a pattern.

        A handler's topic was validated with the manifest, may hold inner wildcards and is always in
        reach of its own capsule; policies are asked about it like about every other pattern.

        Returns:
            Whether delivery must be cut down to the handler's level, as no grant covers the topic.
        """
        instance = self.instance
        grants, is_exact = instance.grants, False
        if pattern in self._handler_topics:
            is_exact = not any(matches_acl(pattern, key) for key in grants.subscribe)
            grants = replace(grants, subscribe=(*grants.subscribe, pattern))
        else:
            try:
                check_subscribe_pattern(pattern)
            except TopicError as error:
                raise WitError("invalid-input") from error
        instance.services.gate.check_subscribe(grants, instance.principal, pattern)
        return is_exact

    def _received(self, batch: Batch) -> EnvelopeRecord:
        self.instance.follow(batch.messages)
        return EnvelopeRecord([_record(message) for message in batch.messages], 0, batch.lagged)

    def _hears(self, principal: Principal | None) -> bool:
        """Whether messages of a principal reach this guest.

        Memory of a call instance is one principal's: it hears that one and the kernel. A run loop
        serves everybody who is not switched off. Spec: kernel-and-security 16 D-34.
        """
        if principal is None:
            return True
        if self.instance.purpose != "run" and principal != self.instance.principal:
            return False
        try:
            return self.instance.services.profiles.is_enabled(principal)
        except ConfigError:  # a damaged profile is nobody's permission
            return False

    def _forget(self, subscription: Subscription, queue: BusSubscription) -> None:
        self._live.discard(subscription)
        self.instance.release(subscription)
        self.instance.unsubscribe(queue)


def _record(message: Envelope) -> MessageRecord:
    return MessageRecord(
        message.topic,
        message.payload.decode("utf-8", "replace"),
        message.source_id,
        (message.attribution.value, message.principal),
    )
