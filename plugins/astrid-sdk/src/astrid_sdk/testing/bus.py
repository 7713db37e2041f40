"""The bus of the fake host, as one capsule sees it.

Spec: host-abi 9, 10.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from astrid_sdk.bindings import WitCaseError
from astrid_sdk.testing.cases import require
from astrid_sdk.topics import is_subscribable, is_topic, matches_entry, matches_subscription

NIL_UUID: Final = "00000000-0000-0000-0000-000000000000"
MAX_TOPIC_BYTES: Final = 256
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_BATCH_BYTES: Final = 1024 * 1024
MAX_RATE_BYTES: Final = 5 * 1024 * 1024
MAX_SUBSCRIPTIONS: Final = 128
MAX_POLLABLES: Final = 256
LONGEST_RECV_MS: Final = 60_000
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Published(NamedTuple):
    """A message the capsule published.

    Attributes:
        topic: Where.
        payload: What, as Python values.
        principal: On whose behalf.
        is_claimed: Whether that principal was only claimed, with `publish_as`.
    """

    topic: str
    payload: Any
    principal: str
    is_claimed: bool = False


@dataclass(frozen=True)
class PrincipalAttribution_Verified:  # noqa: N801 - the generated class has this name
    """The host knows the principal."""

    value: str


@dataclass(frozen=True)
class PrincipalAttribution_Claimed:  # noqa: N801 - as above
    """A front end named the principal."""

    value: str


@dataclass(frozen=True)
class PrincipalAttribution_System:  # noqa: N801 - as above
    """The kernel itself."""


Attribution = (
    PrincipalAttribution_Verified | PrincipalAttribution_Claimed | PrincipalAttribution_System
)


class Item(NamedTuple):
    """A message, with the attribute names of the generated record."""

    topic: str
    payload: str
    source_id: str
    principal: Attribution


class Envelope(NamedTuple):
    """As the generated record."""

    messages: list[Item]
    dropped: int = 0
    lagged: int = 0


class InterceptorBinding(NamedTuple):
    """As the generated record."""

    handle_id: int
    action: str
    topic: str


class BusOwner(Protocol):
    """What the bus needs to know of its host."""

    principal: str
    source_id: str
    publish: list[str]
    subscribe: list[str]
    capabilities: set[str]
    bindings: list[tuple[str, str]]
    caller: Item | None

    def wait(self, duration_ns: int, *, until: Callable[[], bool]) -> None:
        """Let time pass until something happens."""
        ...

    def wait_forever(self, *, until: Callable[[], bool]) -> None:
        """The same without an end."""
        ...


class FakeBus:
    """Functions of `astrid:ipc/host` and `astrid:io/poll`."""

    def __init__(self, owner: BusOwner) -> None:
        self._owner = owner
        self._subscriptions: list[FakeSubscription] = []
        self._early: list[Item] = []
        self.published: list[Published] = []

    def publish(self, topic: str, payload: str) -> None:
        """Publish for the current principal."""
        principal = self._owner.principal
        value = self._checked(topic, payload)
        self._send(Published(topic, value, principal), payload)

    def publish_as(self, topic: str, payload: str, principal: str) -> None:
        """Publish for somebody else."""
        require("uplink" in self._owner.capabilities, case="capability-denied")
        require(_PRINCIPAL.fullmatch(principal) is not None, case="invalid-input")
        value = self._checked(topic, payload)
        self._send(Published(topic, value, principal, is_claimed=True), payload)

    def subscribe(self, topic_pattern: str) -> FakeSubscription:
        """Open a queue; one for a handler's topic holds what came since the capsule was loaded."""
        require(is_subscribable(topic_pattern), case="invalid-input")
        require(_granted(topic_pattern, self._owner.subscribe), case="capability-denied")
        require(len(self._subscriptions) < MAX_SUBSCRIPTIONS, case="quota")
        made = FakeSubscription(self, topic_pattern)
        if any(topic == topic_pattern for topic, _ in self._owner.bindings):
            early = (item for item in self._early if matches_subscription(item.topic, made.pattern))
            made.queue.extend(early)
        self._subscriptions.append(made)
        return made

    def get_interceptor_bindings(self) -> list[InterceptorBinding]:
        """Handlers of the manifest, for a run loop."""
        pairs = enumerate(self._owner.bindings)
        return [InterceptorBinding(number, action, topic) for number, (topic, action) in pairs]

    def poll(self, pollables: list[FakePollable]) -> list[int]:
        """Indexes of the ready ones, at least one."""
        require(bool(pollables), case="invalid-input")
        require(len(pollables) <= MAX_POLLABLES, case="too-large")
        self._owner.wait_forever(until=lambda: any(item.ready() for item in pollables))
        return [index for index, item in enumerate(pollables) if item.ready()]

    def route(self, item: Item) -> None:
        """Put a message into every queue it belongs to."""
        if any(matches_subscription(item.topic, topic) for topic, _ in self._owner.bindings):
            self._early.append(item)
        for subscription in self._subscriptions:
            if matches_subscription(item.topic, subscription.pattern):
                subscription.queue.append(item)

    def receive(self, subscription: FakeSubscription, *, wait_ms: int) -> Envelope:
        """Wait for the first message and take a batch; its sender becomes the caller."""
        queue = subscription.queue
        if wait_ms and not queue:
            wait_ns = min(wait_ms, LONGEST_RECV_MS) * 1_000_000
            self._owner.wait(wait_ns, until=lambda: bool(queue))
        batch: list[Item] = []
        size = 0
        while queue:
            size += len(queue[0].payload.encode())
            is_other = bool(batch) and queue[0].principal != batch[0].principal
            if is_other or (batch and size > MAX_BATCH_BYTES):
                break
            batch.append(queue.popleft())
        self._owner.caller = batch[0] if batch else None
        return Envelope(batch)

    def wait_for(self, subscription: FakeSubscription) -> None:
        """Wait until a queue has a message."""
        self._owner.wait_forever(until=lambda: bool(subscription.queue))

    def close(self, subscription: FakeSubscription) -> None:
        """Forget a queue."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _checked(self, topic: str, payload: str) -> Any:
        size = len(payload.encode())
        require(len(topic.encode()) <= MAX_TOPIC_BYTES, case="invalid-input")
        require(size <= MAX_RATE_BYTES, case="rate-limited")
        require(is_topic(topic), case="invalid-input")
        require(_granted(topic, self._owner.publish), case="capability-denied")
        require(size <= MAX_PAYLOAD_BYTES, case="invalid-input")
        try:
            return json.loads(payload)
        except ValueError:
            raise WitCaseError("invalid-input") from None

    def _send(self, message: Published, text: str) -> None:
        self.published.append(message)
        kind = PrincipalAttribution_Claimed if message.is_claimed else PrincipalAttribution_Verified
        self.route(Item(message.topic, text, self._owner.source_id, kind(message.principal)))


class FakeSubscription:
    """A queue on the fake bus."""

    def __init__(self, bus: FakeBus, pattern: str) -> None:
        self._bus = bus
        self.pattern = pattern
        self.queue: collections.deque[Item] = collections.deque()

    def poll(self) -> Envelope:
        """Take what is there."""
        return self._bus.receive(self, wait_ms=0)

    def recv(self, timeout_ms: int) -> Envelope:
        """Wait on the fake clock, then take."""
        return self._bus.receive(self, wait_ms=timeout_ms)

    def subscribe_readiness(self) -> FakePollable:
        """Ready when there is a message."""
        return FakePollable(self._bus, self)

    def __exit__(self, *_: object) -> None:
        self._bus.close(self)


class FakePollable:
    """Ready when its subscription has a message."""

    def __init__(self, bus: FakeBus, subscription: FakeSubscription) -> None:
        self._bus = bus
        self._subscription = subscription

    def ready(self) -> bool:
        """Whether it is ready now."""
        return bool(self._subscription.queue)

    def block(self) -> None:
        """Wait until it is ready."""
        self._bus.wait_for(self._subscription)

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""


def _granted(topic: str, entries: list[str]) -> bool:
    return any(matches_entry(topic, entry) for entry in entries)
