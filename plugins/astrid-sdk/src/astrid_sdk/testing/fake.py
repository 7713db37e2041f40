"""An in-memory host: the same answers as the kernel's, without a kernel.

Plays the host of one capsule instance. Refuses what the kernel refuses, with the same cases in the
same order, so that a test that passes here has proved something. Its clock stands still, except
while the capsule waits.

Spec: host-abi 9 to 11, 14.
"""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from os import urandom  # the system's own, whatever is confined later
from typing import Any, Final, NamedTuple

from astrid_sdk.bindings import WitCaseError
from astrid_sdk.testing.bus import (
    NIL_UUID,
    FakeBus,
    Item,
    PrincipalAttribution_Verified,
    Published,
)
from astrid_sdk.testing.cases import require
from astrid_sdk.testing.files import FakeFiles
from astrid_sdk.testing.people import People, modules
from astrid_sdk.testing.processes import FakeProcess
from astrid_sdk.testing.programs import Program, Run
from astrid_sdk.testing.sockets import FakeNet
from astrid_sdk.testing.store import FakeKv
from astrid_sdk.testing.tree import FileTree
from astrid_sdk.testing.web import FakeHttp, Sent
from astrid_sdk.testing.wire import Wire

LONGEST_SLEEP_NS: Final = 60_000_000_000
MAX_ENTROPY: Final = 4096
START_MS: Final = 1_700_000_000_000
_START_TIMESTAMP: Final = "2023-11-14T22:13:20Z"


class LogLine(NamedTuple):
    """A line in the capsule's log."""

    level: str
    message: str


class HostLogLevel(enum.Enum):
    """As the generated enum."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


class CallerContext(NamedTuple):
    """As the generated record."""

    principal: str | None
    source_id: str
    timestamp: str


class CapabilityCheck(NamedTuple):
    """As the generated record."""

    source_uuid: str
    capability: str


class CapabilityCheckResponse(NamedTuple):
    """As the generated record."""

    allowed: bool


@dataclass
class FakeHost:
    """The host of one capsule.

    Attributes:
        principal: On whose behalf the capsule acts; its store and messages belong to it.
        publish: Topics the capsule may publish on; patterns as in a manifest.
        subscribe: Topics it may subscribe to.
        config: Settings and secrets.
        capabilities: Names of its capabilities; `uplink` allows `publish_as`.
        bindings: (topic, action) pairs a run loop serves.
        source_id: UUID text of the capsule instance.
        stores: Key-value stores by principal.
        files: The workspace, the home and the temporary directory.
        fs_read: Entries of the manifest's `fs_read`.
        fs_write: Entries of its `fs_write`.
        web: Status and body by method and address: `GET https://example.org/`.
        sent: Requests that were answered from it.
        wire: Who is on the network, and what names lead to.
        sockets: Entries of the manifest's `net_connect`, `net_tcp_bind`, `net_udp`, `net_bind`.
        programs: What programs do, by command or its first words: `git status`.
        ran: Programs that the capsule started.
        host_process: Entries of the manifest's `host_process`.
        people: Who is asked and answers, and whose account is whose.
        logs: What it logged.
        is_ready: Whether it signalled readiness.
        now_ns: The clock.
        stop_at_ns: When the host stops the capsule, None for never.
        caller: Whose message the capsule is working on.
    """

    principal: str = "default"
    publish: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    capabilities: set[str] = field(default_factory=set)
    bindings: list[tuple[str, str]] = field(default_factory=list)
    source_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stores: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: FileTree = field(default_factory=FileTree)
    fs_read: list[str] = field(default_factory=list)
    fs_write: list[str] = field(default_factory=list)
    web: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    wire: Wire = field(default_factory=Wire)
    sockets: dict[str, list[str]] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    ran: list[Run] = field(default_factory=list)
    host_process: list[str] = field(default_factory=list)
    people: People = field(default_factory=People)
    logs: list[LogLine] = field(default_factory=list)
    is_ready: bool = False
    now_ns: int = 0
    stop_at_ns: int | None = None
    caller: Item | None = None

    def __post_init__(self) -> None:
        self._timers: list[tuple[int, Item]] = []
        self._bus = FakeBus(self)
        self._modules = {
            **modules(self),
            "fs": FakeFiles(self),
            "http": FakeHttp(self),
            "kv": FakeKv(lambda: self.kv),
            "ipc": self._bus,
            "net": FakeNet(self),
            "poll": self._bus,
            "process": FakeProcess(self),
            "sys": FakeSys(self),
        }

    def module(self, interface: str) -> Any:
        """Functions and types of an interface; for `astrid_sdk.bindings`."""
        return self._modules[interface]

    def case_of(self, error: Exception) -> WitCaseError | None:
        """The fake raises the cases themselves; for `astrid_sdk.bindings`."""
        return error if isinstance(error, WitCaseError) else None

    @property
    def kv(self) -> dict[str, bytes]:
        """The store of the current principal."""
        return self.stores.setdefault(self.principal, {})

    @property
    def published(self) -> list[Published]:
        """What the capsule published, oldest first."""
        return self._bus.published

    @property
    def is_stopping(self) -> bool:
        """Whether the host has told the capsule to end."""
        return self.stop_at_ns is not None and self.now_ns >= self.stop_at_ns

    def deliver(self, topic: str, payload: object, *, delay_s: float = 0.0) -> None:
        """Put a message on the bus, as somebody else would, now or when the clock gets there."""
        text = json.dumps(payload)
        item = Item(topic, text, NIL_UUID, PrincipalAttribution_Verified(self.principal))
        if delay_s > 0:
            self._timers.append((self.now_ns + round(delay_s * 1e9), item))
            self._timers.sort(key=lambda timer: timer[0])
        else:
            self._bus.route(item)

    def wait(self, duration_ns: int, *, until: Callable[[], bool]) -> None:
        """Move the clock to the end of the wait, or to what ends it before."""
        end = self.now_ns + duration_ns
        while self.now_ns < end and not until() and not self.is_stopping:
            times = [end, *(when for when, _ in self._timers[:1])]
            if self.stop_at_ns is not None:
                times.append(self.stop_at_ns)
            self.now_ns = max(self.now_ns, min(times))
            while self._timers and self._timers[0][0] <= self.now_ns:
                self._bus.route(self._timers.pop(0)[1])

    def wait_forever(self, *, until: Callable[[], bool]) -> None:
        """Move the clock to what ends the wait.

        Raises:
            WitCaseError: `cancelled`, the host stops the capsule.
            AssertionError: Nothing will ever end it; a test would hang.
        """
        while not until():
            require(not self.is_stopping, case="cancelled")
            if not self._timers and self.stop_at_ns is None:
                raise AssertionError("the capsule would wait for ever: nothing is going to happen")
            self.wait(LONGEST_SLEEP_NS, until=until)


class FakeSys:
    """Functions and types of `astrid:sys/host`."""

    LogLevel = HostLogLevel
    CapabilityCheckRequest = CapabilityCheck

    def __init__(self, host: FakeHost) -> None:
        self._host = host

    def get_config(self, key: str) -> str | None:
        """A setting."""
        require(not key.startswith("__"), case="config-key-reserved")
        return self._host.config.get(key)

    def get_caller(self) -> CallerContext:
        """Whose message is being worked on."""
        item = self._host.caller
        if item is None:
            return CallerContext(None, "", "")
        principal = getattr(item.principal, "value", None)
        return CallerContext(principal, item.source_id, _START_TIMESTAMP)

    def log(self, level: HostLogLevel, message: str) -> None:
        """Keep a line."""
        self._host.logs.append(LogLine(level.name.lower(), message))

    def signal_ready(self) -> None:
        """Note it."""
        self._host.is_ready = True

    def clock_ms(self) -> int:
        """The fake clock, from a fixed date."""
        return START_MS + self._host.now_ns // 1_000_000

    def clock_monotonic_ns(self) -> int:
        """The fake clock."""
        return self._host.now_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Move the clock."""
        require(duration_ns <= LONGEST_SLEEP_NS, case="too-large")
        self._host.wait(duration_ns, until=lambda: False)
        require(not self._host.is_stopping, case="cancelled")

    def random_bytes(self, length: int) -> bytes:
        """Real entropy."""
        require(length <= MAX_ENTROPY, case="too-large")
        return urandom(length)

    def check_capsule_capability(self, request: CapabilityCheck) -> CapabilityCheckResponse:
        """This capsule is the only one there is."""
        is_self = request.source_uuid == self._host.source_id
        return CapabilityCheckResponse(is_self and request.capability in self._host.capabilities)

    def enumerate_capabilities(self) -> list[str]:
        """Sorted names."""
        return sorted(self._host.capabilities)
