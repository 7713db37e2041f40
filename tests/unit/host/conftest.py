"""A small kernel around the host functions: real bus, store and gate, a clock that tests move."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.file_pattern import parse_file_patterns
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.instance import Instance, Purpose
from astrid_core.host.mount import Files, NoFiles
from astrid_core.host.services import HostServices
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.authz import Vote
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, Caller, CapsuleSpec, InterceptorBinding, Limits, WitError
from astrid_hookspecs.errors import AuditError, ConfigError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal

IPC = "astrid:ipc/host@1.0.0"


class TestClock:
    """Real monotonic time plus an offset that tests move, and a wall clock that stands still."""

    __test__ = False

    def __init__(self) -> None:
        self.offset = 0.0
        self.wall = 1_770_109_811.120

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return time.monotonic() + self.offset

    def monotonic_ns(self) -> int:
        return int(self.monotonic() * 1e9)


@dataclass
class TestQuotas:
    __test__ = False

    max_ipc_throughput_bytes: int = 10 * 1024 * 1024
    max_storage_bytes: int = 1024**3
    max_background_processes: int = 8


@dataclass
class World:
    """Everything the host functions act on, open to inspection."""

    kv: SqliteKvStore
    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: TestClock = field(default_factory=TestClock)
    quotas: TestQuotas = field(default_factory=TestQuotas)
    decisions: list[DecisionEvent] = field(default_factory=list)
    log_lines: list[tuple[str, str, str, str]] = field(default_factory=list)
    known: dict[str, frozenset[str]] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    votes: list[Vote] | None = None
    opened: list[Instance] = field(default_factory=list)
    files: Files = field(default_factory=NoFiles)
    audited: list[AuditEntry] = field(default_factory=list)
    audit_fails: bool = False
    disabled: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    process_allow: tuple[str, ...] = ()

    def services(self) -> HostServices:
        world = self

        class Logs:
            def write(self, principal: str, capsule: str, level: str, message: str) -> None:
                world.log_lines.append((principal, capsule, level, message))

        class Profiles:
            def quotas(self, principal: str) -> TestQuotas:
                del principal
                return world.quotas

            def process_allow(self, principal: str) -> tuple[str, ...]:
                del principal
                return world.process_allow

            def is_enabled(self, principal: str) -> bool:
                if principal in world.damaged:
                    raise ConfigError("the profile cannot be read")
                return principal not in world.disabled

        class Directory:
            def capabilities(self, source_id: str) -> frozenset[str] | None:
                return world.known.get(source_id)

        class Audit:
            def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
                del durable
                if world.audit_fails:
                    raise AuditError("the disk is full")
                world.audited.append(entry)

        @contextlib.contextmanager
        def blocked() -> Iterator[None]:
            world.blocked.append("in")
            try:
                yield
            finally:
                world.blocked.append("out")

        ballots = None if self.votes is None else [("test-policy", vote) for vote in self.votes]
        return HostServices(
            kv=self.kv,
            bus=self.bus,
            gate=Gate(
                votes=None if ballots is None else lambda _request: ballots,
                decided=self.decisions.append,
            ),
            profiles=Profiles(),
            clock=self.clock,
            random_bytes=lambda length: b"\x07" * length,
            logs=Logs(),
            blocked=blocked,
            capsules=Directory(),
            files=self.files,
            audit=Audit(),
        )

    def open(
        self,
        *,
        principal: str = "alice",
        purpose: Purpose = "call",
        capsule: str = "t",
        publish: tuple[str, ...] = (),
        subscribe: tuple[str, ...] = (),
        uplink: bool = False,
        identity: tuple[str, ...] = (),
        capabilities: frozenset[str] = frozenset(),
        fs_read: tuple[str, ...] = (),
        fs_write: tuple[str, ...] = (),
        host_process: tuple[str, ...] = (),
        persistent: bool = False,
        net: tuple[str, ...] = (),
        net_connect: tuple[str, ...] = (),
        net_tcp_bind: tuple[str, ...] = (),
        net_udp: tuple[str, ...] = (),
        net_bind: bool = False,
        bindings: tuple[InterceptorBinding, ...] = (),
        caller: Caller | None = None,
        cancel: CancelToken | None = None,
        timeout_s: float | None = None,
        services: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> Instance:
        """An instance with a call entered."""
        name = CapsuleId(capsule)
        made = CapsuleContext(
            spec=CapsuleSpec(
                id=name,
                version="1.0.0",
                source_id=str(uuid.uuid4()),
                directory=Path("unused"),
                bindings=bindings,
            ),
            grants=CapsuleGrants(
                capsule=name,
                publish=publish,
                subscribe=subscribe,
                uplink=uplink,
                identity=identity,
                capabilities=capabilities,
                fs_read=parse_file_patterns(fs_read),
                fs_write=parse_file_patterns(fs_write),
                host_process=host_process,
                persistent=persistent,
                net=net,
                net_connect=net_connect,
                net_tcp_bind=net_tcp_bind,
                net_udp=net_udp,
                net_bind=net_bind,
            ),
            owner=Principal("default"),
            **context,
        )
        host = CapsuleHost(made, services=replace(self.services(), **(services or {})))
        instance = host.open_instance(Principal(principal), purpose=purpose)
        call = Call(Principal(principal), Limits(), caller=caller, cancel=cancel)
        deadline = None if timeout_s is None else self.clock.monotonic() + timeout_s
        instance.enter(call, deadline=deadline)
        self.opened.append(instance)
        return instance

    def emit(self, topic: str, payload: bytes = b"1", **fields: Any) -> None:
        """Publish from outside; with a principal, as one the kernel vouches for."""
        if fields.get("principal") and "attribution" not in fields:
            fields["attribution"] = Attribution.VERIFIED
        self.bus.publish(Envelope(topic, payload, **fields))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(SqliteKvStore(tmp_path))
    yield made
    for instance in made.opened:
        instance.close()
    made.bus.close()
    made.kv.close()


Outcome = Callable[..., tuple[str, Any]]


@pytest.fixture
def call() -> Outcome:
    """Calls a host function like an engine: ("ok", value) or (case, payload)."""

    def outcome(
        instance: Instance, function: str, *arguments: object, interface: str = IPC
    ) -> tuple[str, Any]:
        handler = instance.handler(interface, function)
        assert handler is not None, f"{interface}#{function}"
        try:
            return ("ok", handler(*arguments))
        except WitError as error:
            return (error.case, error.payload)

    return outcome
