"""What host functions need from the kernel, as Protocols: `host` imports nothing above it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, Protocol

from astrid_core.domain.rate import RateLimiter
from astrid_core.host.http_network import Network
from astrid_core.host.local_socket import LocalSockets, NoLocalSockets
from astrid_core.host.models import Models, NoModels
from astrid_core.host.mount import Files, NoFiles
from astrid_core.host.people import People
from astrid_core.host.process_service import NoProcesses, Processes
from astrid_core.ports.audit import AuditTrail, NoAudit
from astrid_core.ports.clock import Clock
from astrid_core.security.gate import Gate
from astrid_hookspecs.buses import Bus
from astrid_hookspecs.errors import ConfigError, QuotaExceededError
from astrid_hookspecs.stores import KvStore
from astrid_hookspecs.values import CapsuleId, Principal

MAX_IDENTITY_RECORDS: Final = 10_000
"""Users and links that one capsule may make while the kernel runs."""
MAX_CLAIMED: Final = 10_000
"""Principals that one capsule may speak for while the kernel runs."""


class Quotas(Protocol):
    """The limits of a principal that host functions apply."""

    @property
    def max_ipc_throughput_bytes(self) -> int:
        """Bytes that may be published per second."""
        ...

    @property
    def max_background_processes(self) -> int:
        """Processes that may run in the background."""
        ...

    @property
    def max_storage_bytes(self) -> int:
        """Bytes that the store and the files may hold together."""
        ...


class StateMeter(Protocol):
    """What principals keep in the store, on one account with their files."""

    def writing(
        self, principal: Principal, namespace: str, *, growth_bytes: int
    ) -> AbstractContextManager[int]:
        """Held around a write; gives the most that the namespace may hold.

        Args:
            principal: Whose account.
            namespace: Where the write goes.
            growth_bytes: By how much it grows the namespace at most.
        """
        ...


class Profiles(Protocol):
    """Looks limits up; cheap, called on every publish and every write."""

    def quotas(self, principal: Principal) -> Quotas:
        """The principal's limits.

        Raises:
            ConfigError: It cannot be read; the host function refuses.
        """
        ...

    def is_enabled(self, principal: Principal) -> bool:
        """Whether the principal is switched on; raises as `quotas`."""
        ...

    def process_allow(self, principal: Principal) -> tuple[str, ...]:
        """Which programs may be started for the principal; empty for no opinion."""
        ...


class LogSink(Protocol):
    """Writes capsule logs; never raises."""

    def write(self, principal: Principal, capsule: CapsuleId, level: str, message: str) -> None:
        """Append one line, already escaped, to the principal's log of the capsule."""
        ...


class Turns(Protocol):
    """Lets who has little under way go before who has much."""

    @property
    def is_contended(self) -> bool:
        """Whether there is anybody to give way to; cheap, asked at every host call."""
        ...

    def give_way(self, principal: Principal) -> None:
        """Wait for a moment if somebody else should go first."""
        ...


class NoTurns:
    """Nobody gives way."""

    is_contended = False

    def give_way(self, principal: Principal) -> None:
        """Go on."""


class ServerPlaces(Protocol):
    """Directories of tool servers."""

    def directory(self, principal: Principal, capsule: CapsuleId, server: str) -> Path:
        """Where a server works for a principal; made on first use, mode 0700.

        Raises:
            ConfigError: The principal has no home, or it cannot be made.
        """
        ...


class NoServerPlaces:
    """There is no place for a server."""

    def directory(self, principal: Principal, capsule: CapsuleId, server: str) -> NoReturn:
        """As `ServerPlaces.directory`; always refuses."""
        del principal, capsule, server
        raise ConfigError("there is no place for tool servers here")


class CapsuleDirectory(Protocol):
    """Knows which capsule speaks under a source id."""

    def capabilities(self, source_id: str) -> frozenset[str] | None:
        """Names of the capabilities that the capsule holds; None for an unknown source id."""
        ...


class PublishBudget:
    """The rate limiter of one kernel, safe from any thread. Spec: capsules-and-bus 6.8."""

    def __init__(self) -> None:
        self._limiter = RateLimiter()
        self._lock = threading.Lock()

    def fits(
        self, source_id: str, principal: Principal, *, size_bytes: int, ceiling: int, now: float
    ) -> bool:
        """Whether a message of this size is within the budget; charges nothing."""
        with self._lock:
            return self._limiter.fits(
                (source_id, principal), size_bytes=size_bytes, ceiling_bytes=ceiling, now=now
            )

    def charge(
        self, source_id: str, principal: Principal, *, size_bytes: int, ceiling: int, now: float
    ) -> bool:
        """Charge an accepted message; False, with nothing charged, when it no longer fits."""
        with self._lock:
            return self._limiter.allow(
                (source_id, principal), size_bytes=size_bytes, ceiling_bytes=ceiling, now=now
            )


class Claims:
    """The principals that front ends have spoken for, while one kernel runs. Safe from any thread.

    A name costs nothing to invent, and each gets an audit chain and queues of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[CapsuleId, set[Principal]] = {}

    def admit(self, capsule: CapsuleId, principal: Principal) -> None:
        """Count a principal that a capsule speaks for; one that it spoke for before is free.

        Raises:
            QuotaExceededError: It has spoken for too many others.
        """
        with self._lock:
            claimed = self._claimed.setdefault(capsule, set())
            if principal in claimed:
                return
            if len(claimed) >= MAX_CLAIMED:
                raise QuotaExceededError(
                    f"capsule {capsule!r} spoke for {MAX_CLAIMED} principals already",
                    rule="uplink.principals",
                    hint="restart the daemon; a front end that needs more invents names",
                )
            claimed.add(principal)


class IdentityRecords:
    """How many users and links capsules made, while one kernel runs. Safe from any thread.

    They are kept for good, in the kernel's own part of the store, which no principal pays for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Counter[CapsuleId] = Counter()

    def admit(self, capsule: CapsuleId) -> None:
        """Count one more.

        Raises:
            QuotaExceededError: The capsule made too many.
        """
        with self._lock:
            if self._made[capsule] >= MAX_IDENTITY_RECORDS:
                raise QuotaExceededError(
                    f"capsule {capsule!r} made {MAX_IDENTITY_RECORDS} users and links already",
                    rule="identity.records",
                    hint="restart the daemon; a capsule that needs more makes them up",
                )
            self._made[capsule] += 1


SecretLookup = Callable[[Principal, CapsuleId, str], str | None]
"""The text of a secret for (principal, capsule, key), or None."""
SecretKeeper = Callable[[Principal, CapsuleId, str, str], None]
"""Keeps the text of a secret for (principal, capsule, key)."""


@dataclass(frozen=True, slots=True)
class HostServices:
    """Everything host functions act on. One object per kernel; all members are thread-safe.

    Attributes:
        kv: The key-value store.
        bus: The event bus.
        gate: Decides about publishes and subscriptions.
        profiles: Limits of principals.
        clock: Wall and monotonic time.
        random_bytes: Bytes of the operating system's generator.
        logs: Where `sys.log` goes.
        blocked: Entered while a host function waits, so that a worker pool can make up for the
            thread; leaving it must not wait long.
        capsules: For `check-capsule-capability`; None while there is no registry.
        rate: The publish budget.
        claims: For whom front ends spoke.
        identity_records: Users and links that capsules made.
        state: Charges what is written to the store; None: a namespace alone may hold as much as
            the principal's limit says.
        secrets: For secret-typed configuration; None while there is no secret store.
        keep_secret: Where secrets that people are asked for go; None while there is no store.
        people: Those who are asked, and those who have accounts.
        models: Those that tool servers may ask; without, none is.
        processes: Where processes of the machine are started; without it, none is.
        files: The mounts; without any, every file function is refused.
        audit: The audit log; without one, nothing that has to be recorded happens.
        network: How names are resolved, and which local targets are open.
        local_sockets: Where capsules listen for clients of this machine; without it, none can.
        turns: Who goes first where principals compete for the interpreter.
        servers: Where tool servers work; without, none is started.
    """

    kv: KvStore
    bus: Bus
    gate: Gate
    profiles: Profiles
    clock: Clock
    random_bytes: Callable[[int], bytes]
    logs: LogSink
    blocked: Callable[[], AbstractContextManager[object]]
    capsules: CapsuleDirectory | None = None
    rate: PublishBudget = field(default_factory=PublishBudget)
    claims: Claims = field(default_factory=Claims)
    identity_records: IdentityRecords = field(default_factory=IdentityRecords)
    state: StateMeter | None = None
    secrets: SecretLookup | None = field(default=None, repr=False)
    keep_secret: SecretKeeper | None = field(default=None, repr=False)
    people: People = field(default_factory=People)
    models: Models = field(default_factory=NoModels)
    processes: Processes = field(default_factory=NoProcesses)
    files: Files = field(default_factory=NoFiles)
    audit: AuditTrail = field(default_factory=NoAudit)
    network: Network = field(default_factory=Network)
    local_sockets: LocalSockets = field(default_factory=NoLocalSockets)
    turns: Turns = field(default_factory=NoTurns)
    servers: ServerPlaces = field(default_factory=NoServerPlaces)
