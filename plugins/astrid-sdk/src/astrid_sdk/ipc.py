"""The bus: publish, subscribe, ask and answer.

Topics have 1 to 8 segments separated by dots. What a capsule may publish and subscribe to is
written in its manifest; anything else is refused with `CapabilityDeniedError`.

Spec: astrid:ipc@1.0.0.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from astrid_sdk import sys
from astrid_sdk.bindings import guarded, host_call
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import CancelledError, RequestTimeoutError
from astrid_sdk.poll import Pollable

LONGEST_WAIT_S: Final = 60.0
"""The host cuts one receive at this."""

Trust = Literal["verified", "claimed", "system"]


class Message(NamedTuple):
    """One message from the bus.

    Attributes:
        topic: Where it was published.
        text: The payload, JSON text.
        source_id: UUID text of the publisher; the nil UUID for the kernel.
        principal: On whose behalf, or None for the kernel itself.
        trust: How the principal got there: proven, only claimed by a front end, or none.
    """

    topic: str
    text: str
    source_id: str
    principal: str | None
    trust: Trust

    def json(self) -> Any:
        """The payload as Python values."""
        return json.loads(self.text)


class Batch(NamedTuple):
    """What one receive brought. All messages of a batch come from one principal.

    Attributes:
        messages: In order of publication.
        lagged: Messages lost since the previous receive because this capsule was too slow.
        dropped: Messages lost for another reason.
    """

    messages: tuple[Message, ...]
    lagged: int = 0
    dropped: int = 0


def publish(topic: str, text: str) -> None:
    """Publish JSON text.

    Raises:
        IpcError: `CapabilityDeniedError`, `InvalidInputError`, `RateLimitedError`,
            `BackpressureError`.
    """
    host_call("ipc", "publish", topic, text)


def publish_json(topic: str, value: object) -> None:
    """Publish a value (JSON types, dataclasses, enums).

    Raises:
        IpcError: As `publish`.
        TypeError: `value` has no JSON form.
    """
    publish(topic, to_json_text(value))


def publish_as(topic: str, value: object, *, principal: str) -> None:
    """Publish a value on behalf of somebody; needs the `uplink` capability.

    Receivers see the principal as claimed, not as proven.

    Raises:
        IpcError: As `publish`.
        TypeError: `value` has no JSON form.
    """
    host_call("ipc", "publish_as", topic, to_json_text(value), principal)


class Subscription:
    """A queue of messages that match a pattern; made by `subscribe`."""

    def __init__(self, pattern: str, handle: Any) -> None:
        self.pattern = pattern
        self._handle = handle
        self._pollable: Pollable | None = None

    def poll(self) -> Batch:
        """Take what is queued, without waiting.

        Raises:
            IpcError: `ClosedError`.
        """
        return _batch(guarded("ipc", "poll", self._handle.poll))

    def recv(self, timeout: float = LONGEST_WAIT_S) -> Batch:
        """Wait up to `timeout` seconds (at most 60) for messages; empty when none came.

        Raises:
            ValueError: `timeout` is negative.
            IpcError: `ClosedError`.
        """
        if timeout < 0:
            raise ValueError("timeout must be non-negative")
        wait_ms = round(min(timeout, LONGEST_WAIT_S) * 1000)
        return _batch(guarded("ipc", "recv", self._handle.recv, wait_ms))

    def readiness(self) -> Pollable:
        """Becomes ready when a message waits; for `poll.wait_any`. Closed with the subscription."""
        if self._pollable is None:
            handle = guarded("ipc", "subscribe_readiness", self._handle.subscribe_readiness)
            self._pollable = Pollable(handle)
        return self._pollable

    def close(self) -> None:
        """Unsubscribe. Queued messages are lost."""
        if self._pollable is not None:
            self._pollable.close()
            self._pollable = None
        self._handle.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come, until the host stops the capsule."""
        while True:
            batch = self.recv()
            yield from batch.messages
            if not batch.messages and is_stopping():
                return


def subscribe(pattern: str) -> Subscription:
    """Receive what is published from now on under topics that match `pattern`.

    `*` as the last segment stands for one or more segments.

    Raises:
        IpcError: `CapabilityDeniedError`, `InvalidInputError`, `QuotaError`.
    """
    return Subscription(pattern, host_call("ipc", "subscribe", pattern))


def request(
    topic: str, payload: Mapping[str, object], *, response: str, timeout: float = 10.0
) -> Message:
    """Ask and wait for the answer.

    Adds a fresh `correlation_id` to `payload` and listens on `<response>.<correlation id>`, so the
    manifest must let the capsule subscribe to `<response>.*`.

    Args:
        topic: Where the request goes.
        payload: The request.
        response: Topic family of answers, without the last segment.
        timeout: Seconds to wait.

    Raises:
        RequestTimeoutError: Nobody answered in time.
        IpcError: As `publish` and `subscribe`; `CancelledError` is a `SysError`.
    """
    correlation_id = str(uuid.UUID(bytes=sys.random_bytes(16), version=4))
    deadline = sys.monotonic_ns() + round(timeout * 1e9)
    with subscribe(f"{response}.{correlation_id}") as answers:
        publish_json(topic, {**payload, "correlation_id": correlation_id})
        while (left := (deadline - sys.monotonic_ns()) / 1e9) > 0:
            batch = answers.recv(left)
            if batch.messages:
                return batch.messages[0]
            sys.sleep(1e-9)  # raises when the host stops the capsule, which ends `recv` early
    raise RequestTimeoutError(f"no answer to {topic} on {response}.* within {timeout:g} s")


def is_stopping() -> bool:
    """Whether the host wants this capsule to end. An empty receive alone does not tell."""
    try:
        sys.sleep(1e-9)
    except CancelledError:
        return True
    return False


class Binding(NamedTuple):
    """A handler of the manifest: events matching `topic` belong to `action`."""

    topic: str
    action: str


def bindings() -> list[Binding]:
    """Handlers of the manifest that a run loop serves itself; empty for other capsules."""
    found = host_call("ipc", "get_interceptor_bindings")
    return [Binding(item.topic, item.action) for item in found]


def _batch(envelope: Any) -> Batch:
    messages = tuple(_message(item) for item in envelope.messages)
    return Batch(messages, envelope.lagged, envelope.dropped)


_TRUST: Final[dict[str, Trust]] = {
    "PrincipalAttribution_Verified": "verified",
    "PrincipalAttribution_Claimed": "claimed",
    "PrincipalAttribution_System": "system",
}


def _message(item: Any) -> Message:
    trust = _TRUST[type(item.principal).__name__]
    principal: str | None = getattr(item.principal, "value", None)
    return Message(item.topic, item.payload, item.source_id, principal, trust)
