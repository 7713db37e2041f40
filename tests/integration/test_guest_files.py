"""A component that calls file functions: the real engine, mount table, backend and gate."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.builtin.system_clock import SystemClock
from astrid_core.domain.file_pattern import parse_file_patterns
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.mount import Mount
from astrid_core.host.services import HostServices
from astrid_core.kernel.logs import CapsuleLogs
from astrid_core.kernel.mounts.table import MountKey, MountTable, OpenMount
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.engines import Call, CapsuleSpec, EngineEnvironment, Limits
from astrid_hookspecs.errors import CapabilityDeniedError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.guests import engine_guest

DENIED, ESCAPED, NOT_FOUND = "!c", "!d", "!a"
Guest = Callable[..., str | None]


class World:
    """Real services around one workspace and the home of `alice`."""

    def __init__(self, base: Path, release: ExitStack) -> None:
        self.workspace, self.home = base / "workspace", base / "principal"
        (self.workspace / "d").mkdir(parents=True)
        (self.workspace / "a.txt").write_text("hello there")
        (self.workspace / "out").symlink_to(base)
        (self.home / ".config").mkdir(parents=True)
        (self.home / ".config" / "key").write_text("secret")
        self.audited: list[AuditEntry] = []
        self.decisions: list[DecisionEvent] = []
        self.mounts = MountTable({"workspace": self.opened, "home": self.opened})
        release.callback(self.mounts.close)
        kv, bus = SqliteKvStore(base), MemoryBus()
        release.callback(kv.close)
        release.callback(bus.close)
        logs = CapsuleLogs(base / "homes", clock=SystemClock())
        release.callback(logs.close)
        self.services = HostServices(
            kv=kv,
            bus=bus,
            gate=Gate(votes=None, decided=self.decisions.append),
            profiles=ProfileStore(base / "profiles"),
            clock=SystemClock(),
            random_bytes=os.urandom,
            logs=logs,
            blocked=contextlib.nullcontext,
            files=self.mounts,
            audit=self,
        )

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        del durable
        self.audited.append(entry)

    def opened(self, key: MountKey) -> OpenMount:
        if key.scheme == "home" and key.principal != "alice":
            raise CapabilityDeniedError("no home", rule="mount.no-home")
        place = self.home if key.scheme == "home" else self.workspace
        root = open_host_directory(place, foreign=key.scheme == "workspace")
        release = ExitStack()
        release.callback(root.close)
        return OpenMount(Mount(key.scheme, root, str(place), creates_parents=True), release)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as release:
        yield World(tmp_path, release)


@pytest.fixture
def guest(world: World, tmp_path: Path) -> Iterator[Guest]:
    """Calls the guest; the answer's data."""
    component = tmp_path / "files.wasm"
    component.write_bytes(engine_guest("files.wat"))
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    engine = WasmEngine(EngineEnvironment(cache, b"s" * 32, load_abi()))
    spec = CapsuleSpec(
        id=CapsuleId("files"),
        version="1.0.0",
        source_id="11111111-2222-4333-8444-555555555555",
        directory=tmp_path,
        component=component,
        component_hash=engine.inspect(component).digest,
    )
    grants = CapsuleGrants(
        spec.id,
        fs_read=parse_file_patterns(["*", "home://"]),
        fs_write=parse_file_patterns(["cwd://d"]),
    )
    context = CapsuleContext(spec=spec, grants=grants, owner=Principal("default"))
    loaded = engine.load(spec, CapsuleHost(context, services=world.services))

    def invoke(action: str, payload: bytes = b"", *, principal: str = "alice") -> str | None:
        return loaded.invoke(action, payload, Call(Principal(principal), Limits())).data

    yield invoke
    loaded.unload(grace_s=1.0)
    engine.close()


def test_a_guest_reads_and_writes_what_its_manifest_lists(world: World, guest: Guest) -> None:
    assert guest("ra.txt") == "hello there"
    assert guest("wd/sub/new", b"text") == ""
    assert (world.workspace / "d/sub/new").read_bytes() == b"text"
    assert guest("oa.txt") == "hello"
    assert [(entry.action, entry.resource) for entry in world.audited] == [
        ("fs.read-file", "workspace://a.txt"),
        ("fs.write-file", "workspace://d/sub/new"),
        ("fs.open", "workspace://a.txt"),
        ("fs.read-at", "workspace://a.txt"),
    ]


@pytest.mark.parametrize(
    ("action", "principal", "expected"),
    [
        ("wa.txt", "alice", DENIED),
        ("wd/../a.txt", "alice", DENIED),
        ("rhome://.config/key", "alice", DENIED),
        ("ohome://.config/key", "alice", DENIED),
        ("rhome://x", "bob", DENIED),
        ("r../principal/.config/key", "alice", ESCAPED),
        ("rout/principal/.config/key", "alice", ESCAPED),
        ("wout/made", "alice", ESCAPED),
        ("r/etc/passwd", "alice", NOT_FOUND),
    ],
)
def test_a_guest_denied_when_its_manifest_does_not_list_it(
    world: World, guest: Guest, action: str, principal: str, expected: str
) -> None:
    assert guest(action, b"changed", principal=principal) == expected
    assert (world.workspace / "a.txt").read_text() == "hello there"
    assert not (world.workspace.parent / "made").exists()
    if expected == DENIED and principal == "alice":
        assert len(world.decisions) == 1


def test_a_guest_denied_when_the_mounts_are_closed(world: World, guest: Guest) -> None:
    assert guest("oa.txt") == "hello"
    world.mounts.close()
    assert guest("ra.txt") == DENIED
