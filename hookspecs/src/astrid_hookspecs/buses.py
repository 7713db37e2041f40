"""The event bus: envelopes, subscriptions, and the record with which a plugin supplies a bus."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.values import NIL_SOURCE, Principal


class Attribution(enum.Enum):
    """How sure the kernel is of an envelope's principal. Spec: host-abi 10.1.

    VERIFIED: the kernel set it. CLAIMED: an uplink capsule named it. SYSTEM: there is none.
    """

    VERIFIED = "verified"
    CLAIMED = "claimed"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on the bus. Spec: capsules-and-bus 6.2.

    Attributes:
        topic: Dot-separated, already valid.
        payload: JSON text in UTF-8, in the form guests receive: for `custom` the bare value, for
            `raw_json` the object without its tag, for typed variants the tagged object.
        kind: Payload variant (`custom`, `raw_json`, `tool_execute_request`, ...).
        source_id: UUID text of the publisher; the nil UUID for the kernel.
        principal: On whose behalf, or None.
        attribution: SYSTEM exactly when `principal` is None.
        timestamp: RFC 3339, UTC, milliseconds.
        seq: 1, 2, 3 ... per bus; 0 before publication.
        depth: Length of the causal chain of publishes that led here; 0 from outside.
    """

    topic: str
    payload: bytes
    kind: str = "custom"
    source_id: str = NIL_SOURCE
    principal: Principal | None = None
    attribution: Attribution = Attribution.SYSTEM
    timestamp: str = ""
    seq: int = 0
    depth: int = 0


class Batch(NamedTuple):
    """What one receive returned: messages of a single principal, oldest first."""

    messages: tuple[Envelope, ...]
    lagged: int
    """Messages overwritten in the queue since the previous receive."""


@dataclass(slots=True)
class QueueBudget:
    """Payload bytes that several subscriptions of one bus may keep together.

    Attributes:
        limit: When they keep more, the queue that takes the next message drops its oldest ones,
            and always keeps that message.
        used: What they keep now; counted by the bus.
    """

    limit: int
    used: int = 0


class BusSubscription(Protocol):
    """A bounded queue of the envelopes that match one pattern. Also a `WaitSource`.

    Full queues drop the oldest entry of the principal that has most in them, never the newest of
    all, and count it as lagged; publishers never wait.
    """

    pattern: str

    def is_ready(self) -> bool:
        """Whether `take` would return a message."""
        ...

    def add_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.add_waiter`."""
        ...

    def remove_waiter(self, event: threading.Event) -> None:
        """As `WaitSource.remove_waiter`."""
        ...

    def take(self, *, max_bytes: int) -> Batch:
        """Take what is queued: the first message always, then more while they fit.

        A batch ends before a message of another principal and where the sum of payload lengths
        would pass `max_bytes`; the rest stays queued.
        """
        ...

    def close(self) -> None:
        """Stop receiving and drop what is queued. Closing twice is not an error."""
        ...


class Bus(Protocol):
    """Routes envelopes. Every method may be called from any thread and none waits for a reader."""

    def publish(self, envelope: Envelope) -> Envelope:
        """Number the envelope and queue it everywhere it matches; one total order per bus.

        Returns:
            The envelope with its `seq`. Listeners have run when this returns.
        """
        ...

    def subscribe(
        self,
        pattern: str,
        *,
        capacity: int = 1024,
        budget: QueueBudget | None = None,
        principal: Principal | None = None,
    ) -> BusSubscription:
        """Receive later envelopes that match (receiver matcher, capsules-and-bus 6.5 B).

        Args:
            pattern: Valid topic segments; `*` as a whole segment. `**` alone matches every topic.
            capacity: Messages kept before the oldest is dropped.
            budget: Shared with other subscriptions; None for one of its own.
            principal: Only envelopes of this one and those without any, so that what others say
                costs it no message and is not counted as lagged; None for everybody's.
        """
        ...

    def add_listener(
        self, pattern: str, listener: Callable[[Envelope], None]
    ) -> Callable[[], None]:
        """Call `listener` in the publisher's thread for every envelope that matches.

        Patterns are those of `subscribe`. A listener returns quickly, never publishes synchronously
        and never raises.

        Returns:
            A function that removes the listener.
        """
        ...

    def close(self) -> None:
        """Close every subscription."""
        ...


@dataclass(frozen=True, slots=True)
class BusRecord:
    """Declares an event bus implementation."""

    name: str
    factory: Callable[[], Bus]


@hookspec
def astrid_register_buses() -> Iterable[BusRecord]:  # type: ignore[empty-body]
    """Declare event bus implementations.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique over all plugins.
    Failure: an exception or a malformed record stops the boot.
    The kernel uses the record that `kernel.bus` in the configuration names, default `memory`.
    Since: 1.0.
    """
