"""Engines run capsules: what the kernel hands them, what they hand back.

An engine is trusted with guest code and nothing else. It decides nothing about permission: every
host call goes to a handler of the kernel, which checks before it acts.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.markers import hookspec
from astrid_hookspecs.sandboxes import ProcessSandbox, no_sandbox
from astrid_hookspecs.values import CapsuleId, Principal

MIB = 1024 * 1024
MAX_TEXT_BYTES = 8 * MIB
"""Of one text of a guest; every function of the ABI refuses or cuts a shorter one."""
TICK_S = 0.1
"""Granularity of guest deadlines. Spec: host-abi 16.5."""


ENTRY_KINDS: Final = ("component", "mcp_server")
"""What an engine can serve: the tables of a manifest that something runs."""


class WitError(Exception):
    """A host function's `err(case)` answer. Raised by handlers, lowered by the engine.

    Args:
        case: Name of the error variant's case, kebab-case.
        payload: The case's payload, None for a case without one.
    """

    def __init__(self, case: str, payload: object = None) -> None:
        super().__init__(case)
        self.case = case
        self.payload = payload


class HostTrap(Exception):  # noqa: N818 - the field's word for it; it is not an error answer
    """Raised by a handler where the interface demands that the guest traps."""


class HostResource(Protocol):
    """A host object the guest holds a handle to."""

    def drop(self) -> None:
        """The guest dropped its handle or the instance ended. Called exactly once.

        Raises:
            HostTrap: The interface forbids dropping it now; the guest that drops it traps.
        """
        ...


class Limits(NamedTuple):
    """What one call may use.

    Attributes:
        memory_bytes: Sum over the instance's linear memories.
        timeout_s: Wall time of the call including host calls; None for no limit.
    """

    memory_bytes: int = 64 * MIB
    timeout_s: float | None = 300.0


@dataclass(frozen=True, slots=True)
class Caller:
    """The message that caused a call. Spec: host-abi 2.1.

    Attributes:
        principal: As carried by the message, or None.
        attribution: How that principal got there.
        source_id: UUID text of the publisher.
        timestamp: RFC 3339 time of the message.
        depth: Causal depth of the message; what the guest publishes now is one deeper.
    """

    principal: Principal | None
    attribution: Attribution
    source_id: str
    timestamp: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One entry into guest code.

    Attributes:
        principal: Effective principal; selects the instance.
        limits: Of that principal.
        caller: The causing message; None for life-cycle hooks and run loops.
        cancel: Fired to stop this call; None when only unload can stop it.
        call_id: Of the tool call that this is part of, where it is part of one.
    """

    principal: Principal
    limits: Limits
    caller: Caller | None = None
    cancel: CancelToken | None = None
    call_id: str | None = None


class GuestResult(NamedTuple):
    """The raw `capsule-result` record. Spec: astrid:guest@1.0.0."""

    action: str
    data: str | None


class Readiness(enum.Enum):
    """Outcome of waiting for a capsule. Spec: capsules-and-bus 3.4."""

    READY = "ready"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


class Health(NamedTuple):
    """Whether a loaded capsule works, and what is wrong with it."""

    ok: bool
    reason: str = ""


class MemoryUse(NamedTuple):
    """Guest memory of one principal in one capsule.

    Attributes:
        current_bytes: In all its instances together, now.
        peak_bytes: The most that one instance of it had; what `Limits.memory_bytes` bounds.
    """

    current_bytes: int
    peak_bytes: int


class InterceptorBinding(NamedTuple):
    """One manifest handler: events matching `topic` call `action`, lower priority first."""

    topic: str
    action: str
    priority: int = 100


@dataclass(frozen=True, slots=True)
class McpServerSpec:
    """One `[[mcp_server]]` table.

    Attributes:
        id: Unique in the capsule.
        type: `stdio`, `http`, or something that no engine runs.
        command: Program of a `stdio` server.
        args: Its arguments.
        url: Of an `http` server.
        env: Keys of `[env]` that it gets; None for all that are no secrets.
        bearer: Key of `[env]` whose value an `http` server gets as its token.
        shared: Whether one process serves all principals.
    """

    id: str
    type: str
    command: str | None
    args: tuple[str, ...] = ()
    url: str | None = None
    env: tuple[str, ...] | None = None
    bearer: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class CapsuleSpec:
    """What an engine needs to know about a capsule; no manifest type crosses the boundary.

    Attributes:
        id: Capsule id.
        version: Strict semantic version.
        source_id: UUID text of this load; source of everything the capsule publishes.
        directory: Installed capsule directory, canonical.
        component: The component file, already compared with `component_hash`; None without one. Its
            name ends in `.wasm` in every capsule, whatever the engine makes of the content.
        component_hash: 64 hex digits, BLAKE3 of the component's bytes.
        bindings: Effective interceptors in declaration order.
        servers: `[[mcp_server]]` tables.
        is_daemon: `[[uplink]]` not empty or `capabilities.uplink`: calls have no deadline.
        state: `shared`: one instance per principal; `fresh`: a new instance per call.
        run_class: `auto` detects a run loop; `call` and `run` force the class.
        environment: Resolved `[env]` values without secrets.
    """

    id: CapsuleId
    version: str
    source_id: str
    directory: Path
    component: Path | None = None
    component_hash: str | None = None
    bindings: tuple[InterceptorBinding, ...] = ()
    servers: tuple[McpServerSpec, ...] = ()
    is_daemon: bool = False
    state: Literal["shared", "fresh"] = "shared"
    run_class: Literal["auto", "call", "run"] = "auto"
    environment: Mapping[str, str] = field(default_factory=dict)


class HostInstance(Protocol):
    """The kernel's side of one guest instance. Used by one thread at a time.

    How values cross, in both directions: bool, int, float, str and bytes (`list<u8>`) as
    themselves; other lists as Python lists; records and tuples as tuples in field order (handlers
    may return named tuples); enums as the case name; variants as `(case, payload)` with payload
    None for a bare case; options as the value or None; flags as a frozenset of names; own and
    borrowed resources as the host object itself. A `result` is the ok value, returned, or
    `WitError`, raised. Case and field names are in the kebab-case of the WIT. Of a text of a guest
    that has more than `MAX_TEXT_BYTES`, that much crosses: no function takes one as long. A list
    of more items than any function takes may be a trap.
    """

    cancel: CancelToken
    """Fires on unload; every wait inside a handler also waits on it."""

    ready: threading.Event
    """Set by the handler of `sys.signal-ready`, and by the engine when the run loop ended, which
    wakes those who wait for readiness."""

    def handler(self, interface: str, function: str) -> Callable[..., object] | None:
        """The handler of one imported function, bound to this instance; None when unknown.

        Args:
            interface: `astrid:kv/host@1.0.0`.
            function: `kv-get`, or `[method]subscription.recv`, whose first argument is the
                resource object. Destructors are not asked for: the engine calls `drop`.
        """
        ...

    def enter(self, call: Call, *, deadline: float | None) -> None:
        """A call into the guest starts.

        Args:
            call: The call.
            deadline: `time.monotonic()` value after which host waits give up, None for none.
        """
        ...

    def leave(self) -> None:
        """The call is over, however it ended; the next host call belongs to the next `enter`."""
        ...

    def close(self) -> None:
        """The instance is gone. The engine has dropped every resource it still held."""
        ...


class HostApi(Protocol):
    """The kernel's side of one capsule, handed to `Engine.load`."""

    def open_instance(
        self, principal: Principal, *, purpose: Literal["call", "run", "lifecycle"]
    ) -> HostInstance:
        """Make the host side of a new instance. Cheap; called once per instance."""
        ...


class ComponentReport(NamedTuple):
    """What a component is, read without running it.

    Attributes:
        digest: 64 hex digits, BLAKE3 of the file.
        size_bytes: Length of the file.
        imports: Interface names, sorted (`astrid:kv/host@1.0.0`).
        exports: Root function exports that the ABI knows, sorted.
        has_hook: Exports a callable `astrid-hook-trigger`.
        has_run: Exports a real (not stub) `run`.
        has_install: The same for `astrid-install`.
        has_upgrade: The same for `astrid-upgrade`.
    """

    digest: str
    size_bytes: int
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    has_hook: bool
    has_run: bool
    has_install: bool
    has_upgrade: bool


class Progress(Protocol):
    """Receives progress of long work; called from any thread, must return quickly."""

    def __call__(self, step: str, fraction: float | None) -> None:
        """Report.

        Args:
            step: What is being done, a short phrase (`compiling note-keeper.wasm`); the same text
                as long as the step lasts.
            fraction: 0.0 to 1.0, or None when the end is not known.
        """
        ...


class LoadedCapsule(Protocol):
    """A capsule inside an engine. `invoke` and `lifecycle` run guest code on the calling thread."""

    def start(self, call: Call) -> None:
        """Start the run loop on a thread of its own, if the capsule has one; return at once."""
        ...

    def is_run_loop(self) -> bool:
        """Whether a run loop is, or will be, running; such capsules answer no `invoke`."""
        ...

    def wait_ready(self, *, timeout_s: float) -> Readiness:
        """Wait until the run loop signalled readiness; READY at once without one."""
        ...

    def invoke(self, action: str, payload: bytes, call: Call) -> GuestResult:
        """Call the interceptor entry point on the instance of `call.principal`.

        Raises:
            UnsupportedActionError: Nothing here answers interceptor calls; ask the next engine.
            GuestTrapError, GuestTimeoutError, GuestLimitError, GuestCancelledError: The guest was
                stopped; its instance is discarded and the next call gets a fresh one.
        """
        ...

    def lifecycle(self, phase: Literal["astrid-install", "astrid-upgrade"], call: Call) -> bool:
        """Run a life-cycle export in a temporary instance.

        Returns:
            False when the capsule does not have it (absent or a stub).

        Raises:
            As `invoke`.
        """
        ...

    def health(self) -> Health:
        """Whether the capsule works now."""
        ...

    def evict(self, principal: Principal) -> None:
        """Drop the idle instance of a principal; a busy one is dropped when its call ends."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Counters for people: `instances`, `calls`, `traps`, `evictions`, ..."""
        ...

    def memory(self) -> Mapping[Principal, MemoryUse]:
        """What the guests of each principal use; empty where the engine cannot know.

        For people, and asked seldom. What cannot be measured while a call runs is as it was known
        last.
        """
        ...

    def unload(self, *, grace_s: float) -> None:
        """Stop everything: fire the host instances' tokens, wait, then stop the guest by force.

        Returns when no guest code of this capsule runs and nothing is held.

        Args:
            grace_s: Seconds that guests get to come back by themselves.
        """
        ...


class Engine(Protocol):
    """Runs one kind of capsule entry. One object per kernel; every method from any thread."""

    def inspect(self, component: Path) -> ComponentReport:
        """Read and check a component without running it.

        Raises:
            ComponentError: It could not be loaded; says why and what to do.
        """
        ...

    def prepare(self, component: Path, *, progress: Progress | None = None) -> None:
        """Compile ahead of time, so that a later `load` is fast. Does nothing when it is done.

        Raises:
            ComponentError: As `inspect`.
        """
        ...

    def load(self, spec: CapsuleSpec, host: HostApi) -> LoadedCapsule:
        """Make the capsule ready for calls; no guest code runs yet.

        Raises:
            ComponentError: It cannot be loaded.
            IntegrityError: The component is not the one that was installed.
        """
        ...

    def forget(self, component_hash: str) -> None:
        """Drop what was prepared of a component that nothing installed needs any more.

        Running capsules are not disturbed, and a later `load` prepares it again. A hash that is
        unknown, or is none, is not an error.

        Args:
            component_hash: As in `CapsuleSpec`.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds; capsules are unloaded before."""
        ...


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """What an engine gets from the kernel.

    Attributes:
        cache_dir: A directory of the engine's own, mode 0700.
        seal_key: 32 bytes, secret to this home; seals what the engine caches.
        abi: Accepted signature texts by `interface#function`, newest shape first; every interface
            also by its bare name, and every resource as `interface#[resource]name`, both with an
            empty tuple. `docs/abi.md` has the grammar of signature texts.
        sandbox: Gives what confines processes that the engine starts; it hides the runtime home
            whatever a request says. Raises `SandboxError` where nothing can confine them, and then
            the engine starts none.
        state_dir: A directory of the engine's own, mode 0700, for what must not be lost; None
            where nothing is to be kept.
    """

    cache_dir: Path
    seal_key: bytes = field(repr=False)
    abi: Mapping[str, tuple[str, ...]] = field(repr=False)
    sandbox: Callable[[], ProcessSandbox] = no_sandbox
    state_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """Declares an engine.

    Attributes:
        name: Lower-kebab.
        serves: Entry kinds it runs: `component`, `mcp_server`.
        factory: Called at most once per kernel, on first need; heavy imports wait for it.
    """

    name: str
    serves: frozenset[str]
    factory: Callable[[EngineEnvironment], Engine]


@hookspec
def astrid_register_engines() -> Iterable[EngineRecord]:  # type: ignore[empty-body]
    """Declare engines.

    Kind: declare. When: once, while the kernel boots.
    Returns: records; names unique; one engine per entry kind unless the configuration chooses.
    Failure: an exception or a malformed record stops the boot.
    Since: 1.0.
    """
