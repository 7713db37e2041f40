"""The kernel's side of one guest instance: who it acts for, how long, and what it holds.

Trusted with attribution: `principal` decides whose namespace, budget and log every host function
uses. It comes from the kernel's call or, in a run loop, from the message received last; never from
an argument of the guest.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias, TypeVar, cast

from astrid_core.host.context import CapsuleContext
from astrid_core.host.estate import Estate
from astrid_core.host.pulse import Pulse
from astrid_core.host.services import HostServices
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.buses import Attribution, BusSubscription, Envelope, QueueBudget
from astrid_hookspecs.cancel import CancelToken, WaitSource, wait_any
from astrid_hookspecs.engines import MIB, Call, Caller, HostResource
from astrid_hookspecs.values import Principal

CHAIN_S: Final = 1.0
"""For how long what a guest publishes belongs to the messages that it received last."""

QUEUE_BYTES: Final = 64 * MIB
"""What the subscriptions of one guest may keep together: as much as its memory, by default."""

Purpose: TypeAlias = Literal["call", "run", "lifecycle"]
Handler: TypeAlias = Callable[..., object]
_PackageT = TypeVar("_PackageT")


class Waited(enum.Enum):
    """How a wait inside a host function ended."""

    READY = "ready"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """The capsule is being unloaded, the call was stopped, or its deadline passed."""


class Instance:
    """Implements `astrid_hookspecs.engines.HostInstance`. Used by one thread at a time.

    Args:
        context: The capsule.
        services: What host functions act on.
        principal: For whom the instance was made.
        purpose: `run` follows the messages it receives; `call` and `lifecycle` stay with the
            principal of the call, so that guest memory never serves two principals.
        handlers: Makes the handler of a function, by (interface, function).
        estate: Where a run loop finds what the load before it left, and leaves what it does not
            receive any more; None for one of its own.
    """

    def __init__(
        self,
        context: CapsuleContext,
        *,
        services: HostServices,
        principal: Principal,
        purpose: Purpose,
        handlers: HandlerTable,
        estate: Estate | None = None,
    ) -> None:
        self.context = context
        self.services = services
        self.purpose = purpose
        self.cancel = CancelToken()
        self.ready = threading.Event()
        self.pulse = Pulse()
        self.caller: Caller | None = None
        self.grants = _grants(context.grants, purpose)
        self._base_principal = principal
        self._deadline: float | None = None
        self._call: Call | None = None
        self._handlers = handlers
        self._packages: dict[object, object] = {}
        self._held: dict[int, HostResource] = {}
        self._unclaimed: Callable[[], tuple[str, ...]] = tuple
        self.estate = estate or Estate()
        self._chain = (0, 0.0)
        self._queues = QueueBudget(QUEUE_BYTES)

    @property
    def principal(self) -> Principal:
        """The effective principal of the running host call. Spec: host-abi 2.1."""
        if self.purpose == "run" and self.caller is not None and self.caller.principal is not None:
            return self.caller.principal
        return self._base_principal

    @property
    def call_id(self) -> str | None:
        """The tool call that the running call is part of, None for anything else."""
        return None if self._call is None else self._call.call_id

    @property
    def is_for_somebody(self) -> bool:
        """Whether the effective principal was named, and is not just the owner by default."""
        if self.purpose == "run":
            return self.caller is not None and self.caller.principal is not None
        return self.purpose == "call"

    @property
    def attribution(self) -> Attribution:
        """How sure the effective principal is: a claim stays a claim."""
        source = self.caller
        if self.purpose != "run":
            source = None if self._call is None else self._call.caller
        if source is None or source.principal is None:
            return Attribution.VERIFIED
        return source.attribution

    @property
    def depth(self) -> int:
        """Length of the causal chain that led to the running call."""
        received = 0 if self.caller is None else self.caller.depth
        called = self._call.caller.depth if self._call and self._call.caller else 0
        return max(received, called, self._recent_depth())

    def _recent_depth(self) -> int:
        """Of the messages received last, for a while: a look into an empty queue ends no chain."""
        depth, until = self._chain
        return depth if depth and self.services.clock.monotonic() < until else 0

    def handler(self, interface: str, function: str) -> Handler | None:
        """As `HostInstance.handler`; calls of a run loop are counted."""
        make = self._handlers.get((interface, function))
        if make is None:
            return None
        return self.pulse.felt(make(self)) if self.purpose == "run" else make(self)

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """As `HostInstance.enter`."""
        self._call = call
        self._base_principal = call.principal
        self._deadline = deadline
        self.caller = call.caller

    def leave(self) -> None:
        """As `HostInstance.leave`."""
        self._call = None
        self._deadline = None
        self.caller = None
        self._chain = (0, 0.0)

    def close(self) -> None:
        """As `HostInstance.close`: give up everything the guest side left behind."""
        self.cancel.fire()
        held, self._held = list(self._held.values()), {}
        for resource in held:
            resource.drop()

    def unclaimed_bindings(self) -> tuple[str, ...]:
        """Handler topics of a run loop that the guest never subscribed to, for a warning."""
        return self._unclaimed()

    def report_unclaimed(self, source: Callable[[], tuple[str, ...]]) -> None:
        """Name who knows the handler topics that nobody took."""
        self._unclaimed = source

    def package(self, package: Callable[[Instance], _PackageT]) -> _PackageT:
        """The host functions of one package for this instance; made once.

        Args:
            package: The package's class.
        """
        if package not in self._packages:
            self._packages[package] = package(self)
        return cast("_PackageT", self._packages[package])

    def hold(self, resource: HostResource) -> None:
        """Drop the resource when the instance closes, unless the guest drops it before."""
        self._held[id(resource)] = resource

    def release(self, resource: HostResource) -> None:
        """The resource was dropped."""
        self._held.pop(id(resource), None)

    def subscribe(self, pattern: str) -> BusSubscription:
        """A bus subscription; the one that the load before this one left, if it had the same.

        A call instance is told nothing of others, so that they cannot displace what it waits for.
        """
        return self.estate.take(pattern) or self.services.bus.subscribe(
            pattern,
            budget=self._queues,
            principal=None if self.purpose == "run" else self._base_principal,
        )

    def unsubscribe(self, queue: BusSubscription) -> None:
        """Close a subscription that the guest gave up; keep one that only ends with it."""
        is_over = self._call is None or self.cancel.is_fired
        if self.purpose == "run" and is_over:
            self.estate.keep(queue)
        else:
            queue.close()

    def follow(self, messages: tuple[Envelope, ...]) -> None:
        """Take the context of a received batch; an empty one clears it.

        The length of the chain stays for a second, in which nobody can begin a new one by receiving
        nothing: two run loops that answer each other without end get no further than one chain
        a second. It is the longest of the batch: nothing tells which message the guest answers.

        Spec: host-abi 10.3 "context".
        """
        if not messages:
            self.caller = None
            return
        first = messages[0]
        depth = max(message.depth for message in messages)
        self._chain = (depth, self.services.clock.monotonic() + CHAIN_S)
        self.caller = Caller(
            principal=first.principal,
            attribution=first.attribution,
            source_id=first.source_id,
            timestamp=first.timestamp,
            depth=depth,
        )

    def wait(self, sources: tuple[WaitSource, ...], *, timeout_s: float | None) -> Waited:
        """Wait for a source, the capsule's end, the call's end, or the time to pass.

        Args:
            sources: May be empty, to sleep.
            timeout_s: The function's own bound in seconds, None for none.

        Returns:
            CANCELLED also when the call's deadline passes first, so that an expired call comes back
            promptly. Cancellation wins over readiness.
        """
        stops = self._stops()
        budget = self._remaining()
        bound, bounded_by_deadline = timeout_s, False
        if budget is not None and (bound is None or budget < bound):
            bound, bounded_by_deadline = budget, True
        if any(stop.is_fired for stop in stops):
            return Waited.CANCELLED
        if any(source.is_ready() for source in sources):
            return Waited.READY
        if bound is None or bound > 0:
            with self.services.blocked():
                wait_any((*stops, *sources), timeout_s=bound)
            if any(stop.is_fired for stop in stops):
                return Waited.CANCELLED
            if any(source.is_ready() for source in sources):
                return Waited.READY
        return Waited.CANCELLED if bounded_by_deadline else Waited.TIMEOUT

    def pause(self, sources: Sequence[WaitSource], timeout_s: float) -> bool:
        """As `wait`; whether it was CANCELLED. For the kernel, when it waits on behalf of a guest.

        Args:
            sources: What may become ready.
            timeout_s: The bound.
        """
        return self.wait(tuple(sources), timeout_s=timeout_s) is Waited.CANCELLED

    def is_stopped(self) -> bool:
        """Whether long work should give up: as `wait` answers CANCELLED, without waiting."""
        return any(stop.is_fired for stop in self._stops()) or self._remaining() == 0

    def _stops(self) -> tuple[CancelToken, ...]:
        if self._call is not None and self._call.cancel is not None:
            return (self.cancel, self._call.cancel)
        return (self.cancel,)

    def _remaining(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self.services.clock.monotonic())


HandlerTable: TypeAlias = Mapping[tuple[str, str], Callable[[Instance], Handler]]
"""Makes the handler of a function for an instance."""


def _grants(grants: CapsuleGrants, purpose: Purpose) -> CapsuleGrants:
    """Life-cycle hooks publish and receive nothing. Spec: host-abi 16.8."""
    return replace(grants, publish=(), subscribe=()) if purpose == "lifecycle" else grants
