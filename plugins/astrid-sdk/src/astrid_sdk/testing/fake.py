"""An in-memory host: the same answers as the kernel's, without a kernel.

Plays one capsule instance of one principal at a time. Refuses what the kernel refuses, with the
same cases in the same order, so that a test that passes here has proved something.

Spec: host-abi 9 to 11, 14.
"""

from __future__ import annotations

import collections
import enum
import json
import os
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from astrid_sdk.bindings import WitCaseError
from astrid_sdk.topics import is_subscribable, is_topic, matches_entry, matches_subscription

NIL_UUID: Final = "00000000-0000-0000-0000-000000000000"
MAX_VALUE_BYTES: Final = 1024 * 1024
MAX_KEY_BYTES: Final = 256
MAX_PAGE: Final = 1024
MAX_SUBSCRIPTIONS: Final = 128
MAX_RATE_BYTES: Final = 5 * 1024 * 1024
LONGEST_SLEEP_NS: Final = 60_000_000_000
LONGEST_RECV_MS: Final = 60_000
MAX_ENTROPY: Final = 4096
START_MS: Final = 1_700_000_000_000
_SECRET_PREFIX: Final = "__secret:"


class Published(NamedTuple):
    """A message the capsule published.

    Attributes:
        topic: Where.
        payload: What, as Python values.
        principal: On whose behalf.
        claimed: Whether that principal was only claimed, with `publish_as`.
    """

    topic: str
    payload: Any
    principal: str
    claimed: bool = False


class LogLine(NamedTuple):
    """A line in the capsule's log."""

    level: str
    message: str


class LogLevel(enum.Enum):
    """As the generated enum."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


@dataclass(frozen=True)
class PrincipalAttribution_Verified:
    """The host knows the principal."""

    value: str


@dataclass(frozen=True)
class PrincipalAttribution_Claimed:
    """A front end named the principal."""

    value: str


@dataclass(frozen=True)
class PrincipalAttribution_System:
    """The kernel itself."""


Attribution = (
    PrincipalAttribution_Verified | PrincipalAttribution_Claimed | PrincipalAttribution_System
)


class Item(NamedTuple):
    """A message as the bindings deliver it."""

    topic: str
    payload: str
    source_id: str
    principal: Attribution


@dataclass
class FakeHost:
    """The host of one capsule.

    Attributes:
        principal: On whose behalf the capsule acts; its stores and messages belong to it.
        publish: Topics the capsule may publish on; patterns as in a manifest.
        subscribe: Topics it may subscribe to.
        config: Settings and secrets.
        capabilities: Names of its capabilities; `uplink` allows `publish_as`.
        bindings: (topic, action) pairs a run loop serves.
        stores: Key-value stores by principal.
        published: What it published, oldest first.
        logs: What it logged.
        is_ready: Whether it signalled readiness.
        now_ns: The clock; waiting moves it.
        stop_at_ns: When the host stops the capsule, None for never.
    """

    principal: str = "default"
    publish: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    capabilities: set[str] = field(default_factory=set)
    bindings: list[tuple[str, str]] = field(default_factory=list)
    stores: dict[str, dict[str, bytes]] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    is_ready: bool = False
    now_ns: int = 0
    stop_at_ns: int | None = None
    source_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    caller: Item | None = None
    on_publish: Callable[[Published], None] | None = None

    def __post_init__(self) -> None:
        self._subscriptions: list[FakeSubscription] = []
        self._early: list[Item] = []
        self._timers: list[tuple[int, Item]] = []
        self._modules = {
            "kv": _kv_module(self),
            "ipc": _ipc_module(self),
            "poll": SimpleNamespace(poll=self._poll),
            "sys": _sys_module(self),
        }

    # What `astrid_sdk.bindings.Bindings` asks for.

    def module(self, interface: str) -> Any:
        """Functions and types of an interface."""
        return self._modules[interface]

    def case_of(self, error: Exception) -> WitCaseError | None:
        """The fake raises the cases themselves."""
        return error if isinstance(error, WitCaseError) else None

    # What tests use.

    @property
    def kv(self) -> dict[str, bytes]:
        """The store of the current principal."""
        return self.stores.setdefault(self.principal, {})

    def deliver(self, topic: str, payload: object, *, delay_s: float = 0.0) -> None:
        """Put a message on the bus, as somebody else would, now or when the clock gets there."""
        text = json.dumps(payload)
        item = Item(topic, text, NIL_UUID, PrincipalAttribution_Verified(self.principal))
        if delay_s > 0:
            self._timers.append((self.now_ns + round(delay_s * 1e9), item))
            self._timers.sort(key=lambda timer: timer[0])
        else:
            self._route(item)

    @property
    def is_stopping(self) -> bool:
        """Whether the host has told the capsule to end."""
        return self.stop_at_ns is not None and self.now_ns >= self.stop_at_ns

    def wait(self, duration_ns: int, *, until: Callable[[], bool] | None = None) -> None:
        """Move the clock: to the end of the wait, or to what ends it before."""
        end = self.now_ns + duration_ns
        while not (until is not None and until()) and not self.is_stopping:
            times = [end] + [when for when, _ in self._timers[:1]]
            times += [] if self.stop_at_ns is None else [self.stop_at_ns]
            self.now_ns = max(self.now_ns, min(times))
            while self._timers and self._timers[0][0] <= self.now_ns:
                self._route(self._timers.pop(0)[1])
            if self.now_ns >= end:
                return

    def close(self, subscription: FakeSubscription) -> None:
        """Forget a subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _route(self, item: Item) -> None:
        """Messages for handlers wait for the run loop, as they do since the capsule was loaded."""
        if any(matches_subscription(item.topic, topic) for topic, _ in self.bindings):
            self._early.append(item)
        for subscription in self._subscriptions:
            if matches_subscription(item.topic, subscription.pattern):
                subscription.queue.append(item)

    def _open(self, pattern: str) -> FakeSubscription:
        require("invalid-input", is_subscribable(pattern))
        granted = any(matches_entry(pattern, entry) for entry in self.subscribe)
        require("capability-denied", granted)
        require("quota", len(self._subscriptions) < MAX_SUBSCRIPTIONS)
        subscription = FakeSubscription(self, pattern)
        if any(topic == pattern for topic, _ in self.bindings):
            early = (item for item in self._early if matches_subscription(item.topic, pattern))
            subscription.queue.extend(early)
        self._subscriptions.append(subscription)
        return subscription

    def _poll(self, pollables: list[FakePollable]) -> list[int]:
        require("invalid-input", bool(pollables))
        require("too-large", len(pollables) <= MAX_KEY_BYTES)

        def any_ready() -> bool:
            return any(item.ready() for item in pollables)

        if not any_ready() and not self._timers and self.stop_at_ns is None:
            raise AssertionError("the capsule would wait forever: nothing is going to happen")
        while not any_ready():
            require("cancelled", not self.is_stopping)
            self.wait(LONGEST_SLEEP_NS, until=any_ready)
        return [index for index, item in enumerate(pollables) if item.ready()]

    def _publish(self, topic: str, payload: str, *, principal: str | None = None) -> None:
        size = len(payload.encode())
        require("invalid-input", len(topic.encode()) <= MAX_KEY_BYTES)
        require("rate-limited", size <= MAX_RATE_BYTES)
        require("invalid-input", is_topic(topic))
        require("capability-denied", any(matches_entry(topic, entry) for entry in self.publish))
        require("invalid-input", size <= MAX_VALUE_BYTES)
        try:
            value = json.loads(payload)
        except ValueError:
            raise WitCaseError("invalid-input") from None
        claimed = principal is not None
        message = Published(topic, value, principal or self.principal, claimed)
        self.published.append(message)
        kind = PrincipalAttribution_Claimed if claimed else PrincipalAttribution_Verified
        self._route(Item(topic, payload, self.source_id, kind(message.principal)))
        if self.on_publish is not None:
            self.on_publish(message)


class FakePollable:
    """Ready when its subscription has a message, or is gone."""

    def __init__(self, subscription: FakeSubscription) -> None:
        self._subscription = subscription

    def ready(self) -> bool:
        """Whether it is ready now."""
        return bool(self._subscription.queue)

    def block(self) -> None:
        """Wait until it is ready."""
        self._subscription.host.module("poll").poll([self])

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""


class FakeSubscription:
    """A queue on the fake bus."""

    def __init__(self, host: FakeHost, pattern: str) -> None:
        self.host = host
        self.pattern = pattern
        self.queue: collections.deque[Item] = collections.deque()

    def poll(self) -> Any:
        """Take messages of one principal, up to the size of a batch."""
        batch: list[Item] = []
        size = 0
        while self.queue:
            item = self.queue[0]
            size += len(item.payload.encode())
            if batch and (item.principal != batch[0].principal or size > MAX_VALUE_BYTES):
                break
            batch.append(self.queue.popleft())
        self.host.caller = batch[0] if batch else None
        return SimpleNamespace(messages=batch, dropped=0, lagged=0)

    def recv(self, timeout_ms: int) -> Any:
        """Wait on the fake clock, then take."""
        wait_ns = min(timeout_ms, LONGEST_RECV_MS) * 1_000_000
        if not self.queue:
            self.host.wait(wait_ns, until=lambda: bool(self.queue))
        return self.poll()

    def subscribe_readiness(self) -> FakePollable:
        """A pollable for this queue."""
        return FakePollable(self)

    def __exit__(self, *_: object) -> None:
        self.host.close(self)


def require(case: str, condition: bool) -> None:
    """Answer with an error case unless the condition holds."""
    if not condition:
        raise WitCaseError(case)


def _is_text(key: str) -> bool:
    plain = not any(unicodedata.category(char) == "Cc" for char in key)
    return plain and unicodedata.is_normalized("NFC", key) and len(key.encode()) <= MAX_KEY_BYTES


def _kv_module(host: FakeHost) -> Any:
    def check(key: str) -> None:
        require("invalid-key", bool(key) and _is_text(key) and not key.startswith(_SECRET_PREFIX))

    def matching(prefix: str) -> list[str]:
        require("invalid-key", _is_text(prefix))
        return sorted((key for key in host.kv if key.startswith(prefix)), key=str.encode)

    def get(key: str) -> bytes | None:
        check(key)
        return host.kv.get(key)

    def put(key: str, value: bytes) -> None:
        check(key)
        require("too-large", len(value) <= MAX_VALUE_BYTES)
        host.kv[key] = bytes(value)

    def delete(key: str) -> None:
        check(key)
        host.kv.pop(key, None)

    def list_keys(prefix: str) -> list[str]:
        found = matching(prefix)
        require("too-large", len(found) <= MAX_PAGE)
        return found

    def page(prefix: str, cursor: str | None, limit: int) -> Any:
        found = matching(prefix)
        if cursor is not None:
            found = [key for key in found if key.encode() > cursor.encode()]
        size = min(limit or MAX_PAGE, MAX_PAGE)
        following = found[size - 1] if len(found) > size else None
        return SimpleNamespace(keys=found[:size], next_cursor=following)

    def clear(prefix: str) -> int:
        found = matching(prefix)
        for key in found:
            del host.kv[key]
        return len(found)

    def cas(key: str, expected: bytes | None, new: bytes) -> None:
        check(key)
        require("cas-mismatch", host.kv.get(key) == expected)
        put(key, new)

    return SimpleNamespace(
        kv_get=get,
        kv_set=put,
        kv_delete=delete,
        kv_list_keys=list_keys,
        kv_list_keys_page=page,
        kv_clear_prefix=clear,
        kv_cas=cas,
    )


def _ipc_module(host: FakeHost) -> Any:
    def publish_as(topic: str, payload: str, principal: str) -> None:
        require("capability-denied", "uplink" in host.capabilities)
        valid = 1 <= len(principal) <= 64 and principal.replace("-", "_").isidentifier()
        require("invalid-input", valid)
        host._publish(topic, payload, principal=principal)

    def bindings() -> list[Any]:
        return [
            SimpleNamespace(handle_id=number, action=action, topic=topic)
            for number, (topic, action) in enumerate(host.bindings)
        ]

    return SimpleNamespace(
        publish=host._publish,
        publish_as=publish_as,
        subscribe=host._open,
        get_interceptor_bindings=bindings,
    )


def _sys_module(host: FakeHost) -> Any:
    def get_config(key: str) -> str | None:
        require("config-key-reserved", not key.startswith("__"))
        return host.config.get(key)

    def get_caller() -> Any:
        item = host.caller
        if item is None:
            return SimpleNamespace(principal=None, source_id="", timestamp="")
        principal = getattr(item.principal, "value", None)
        return SimpleNamespace(
            principal=principal, source_id=item.source_id, timestamp="2023-11-14T22:13:20Z"
        )

    def sleep(duration_ns: int) -> None:
        require("too-large", duration_ns <= LONGEST_SLEEP_NS)
        require("cancelled", not host.is_stopping)
        host.wait(duration_ns)
        require("cancelled", not host.is_stopping)

    def random_bytes(length: int) -> bytes:
        require("too-large", length <= MAX_ENTROPY)
        return os.urandom(length)

    def signal_ready() -> None:
        host.is_ready = True

    def check(request: Any) -> Any:
        own = request.source_uuid == host.source_id
        return SimpleNamespace(allowed=own and request.capability in host.capabilities)

    return SimpleNamespace(
        LogLevel=LogLevel,
        CapabilityCheckRequest=lambda source, name: SimpleNamespace(
            source_uuid=source, capability=name
        ),
        get_config=get_config,
        get_caller=get_caller,
        log=lambda level, text: host.logs.append(LogLine(level.name.lower(), text)),
        signal_ready=signal_ready,
        clock_ms=lambda: START_MS + host.now_ns // 1_000_000,
        clock_monotonic_ns=lambda: host.now_ns,
        sleep_ns=sleep,
        random_bytes=random_bytes,
        check_capsule_capability=check,
        enumerate_capabilities=lambda: sorted(host.capabilities),
    )


def grants(tables: Mapping[str, object], table: str, legacy: str) -> Iterable[str]:
    """Access list of a manifest: keys of the table, or the old-style list without one."""
    entries = tables.get(table)
    if isinstance(entries, Mapping) and entries:
        return list(entries)
    capabilities = tables.get("capabilities")
    listed = capabilities.get(legacy, []) if isinstance(capabilities, Mapping) else []
    return [str(item) for item in listed] if isinstance(listed, list) else []
