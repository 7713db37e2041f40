"""A component that calls every function of `astrid:process`, allowed and denied.

Real engine, gate, process table, sandbox and programs.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.host.abi import load_abi
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.mount import Mount
from astrid_core.kernel.mounts.table import MountKey, MountTable, OpenMount
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.security.grants import CapsuleGrants
from astrid_engine_wasm.engine import WasmEngine
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.engines import Call, CapsuleSpec, EngineEnvironment, Limits, LoadedCapsule
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.capsules import install, manifest, write_capsule
from tests.support.daemon import Daemon, daemon_home, prepare
from tests.support.guest_services import guest_services
from tests.support.process_guest import process_guest
from tests.support.sandboxes import sandbox_or_skip

pytestmark = pytest.mark.slow
Guest = Callable[..., dict[str, Any]]
LOCKED = "astrid:process/host@1.0.0#"


class World:
    """Services around one workspace; records what is audited and refused."""

    def __init__(self, base: Path, release: ExitStack) -> None:
        self.workspace = base / "workspace"
        (self.workspace / "sub").mkdir(parents=True)
        self.audited: list[AuditEntry] = []
        self.decisions: list[DecisionEvent] = []
        self.processes = ProcessTable(base, sandbox=sandbox_or_skip)
        release.callback(self.processes.close)
        mounts = MountTable({"workspace": self.opened})
        release.callback(mounts.close)
        self.services = guest_services(
            base,
            release,
            decisions=self.decisions,
            processes=self.processes,
            files=mounts,
            audit=self,
        )

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        del durable
        self.audited.append(entry)

    def opened(self, key: MountKey) -> OpenMount:
        del key
        root = open_host_directory(self.workspace, foreign=True)
        release = ExitStack()
        release.callback(root.close)
        return OpenMount(
            Mount("workspace", root, str(self.workspace), creates_parents=True), release
        )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmEngine]:
    cache = tmp_path_factory.mktemp("process-cache")
    cache.chmod(0o700)
    made = WasmEngine(EngineEnvironment(cache, b"s" * 32, load_abi()))
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as release:
        yield World(tmp_path, release)


class Loader:
    """Loads the guest with rights; what it returns calls a function of the interface."""

    def __init__(self, component: Path, engine: WasmEngine, world: World) -> None:
        self.component = component
        self.engine = engine
        self.world = world
        self.loaded: list[LoadedCapsule] = []

    def __call__(self, *host_process: str, persistent: bool = False) -> Guest:
        spec = CapsuleSpec(
            id=CapsuleId("probe"),
            version="1.0.0",
            source_id="11111111-2222-4333-8444-555555555555",
            directory=self.component.parent,
            component=self.component,
            component_hash=self.engine.inspect(self.component).digest,
        )
        grants = CapsuleGrants(spec.id, host_process=host_process, persistent=persistent)
        context = CapsuleContext(spec=spec, grants=grants, owner=Principal("default"))
        capsule = self.engine.load(spec, CapsuleHost(context, services=self.world.services))
        self.loaded.append(capsule)

        def call(action: str, *arguments: Any, principal: str = "alice") -> dict[str, Any]:
            made = Call(Principal(principal), Limits())
            answer = capsule.invoke(action, json.dumps(arguments).encode(), made).data
            found: dict[str, Any] = json.loads(answer or "")
            return found

        return call

    def unload(self) -> None:
        while self.loaded:
            self.loaded.pop().unload(grace_s=1.0)


@pytest.fixture
def load(
    world: World, engine: WasmEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loader]:
    made = Loader(process_guest(tmp_path_factory), engine, world)
    yield made
    made.unload()


def command(*argv: str, **fields: Any) -> dict[str, Any]:
    return {"argv": argv, **fields}


def test_a_guest_runs_programs(load: Loader, world: World) -> None:
    guest = load("sh", "cat")
    script = 'cat; cat "$KEY"; echo "$MORE" >&2; pwd; ulimit -n; exit 3'
    fields = {"stdin": "in ", "env": {"MORE": "err"}, "cwd": "sub", "files": {"KEY": "file "}}
    answer = guest("spawn", command("sh", "-c", script, limits=[None, None, None, 77], **fields))
    assert answer["ok"] == {
        "stdout": f"in file {world.workspace}/sub\n77\n",
        "stderr": "err\n",
        "exit": {"exit_code": 3, "signal": None},
    }
    handle = guest("spawn_background", command("cat"))["ok"]
    assert guest("handle.write_stdin", handle, {"bytes": "hello"}) == {"ok": 5}
    assert guest("handle.subscribe_logs", handle) == {"ok": True}
    assert guest("handle.read_logs", handle)["ok"]["stdout"] == "hello"
    assert guest("handle.os_pid", handle)["ok"] > 1
    assert guest("handle.wait", handle, 1) == {"err": "WaitTimeout"}
    assert guest("handle.close_stdin", handle) == {"ok": None}
    assert guest("handle.subscribe_exit", handle) == {"ok": True}
    ended = {"exit_code": 0, "signal": None}
    assert guest("handle.wait", handle, None) == {"ok": ended}
    assert guest("handle.wait_with_output", handle, 5000)["ok"]["exit"] == ended
    other = guest("spawn_background", command("sh", "-c", "sleep 60"))["ok"]
    assert guest("handle.signal", other, {"signal": "TERM"}) == {"ok": None}
    assert guest("handle.wait", other, 5000)["ok"] == {"exit_code": None, "signal": 15}
    third = guest("spawn_background", command("cat"))["ok"]
    assert guest("handle.kill", third)["ok"]["killed"] is True
    assert guest("handle.drop", third) == {"ok": None}
    assert {entry.action for entry in world.audited} == {
        *("process.spawn", "process.spawn-background", "process.signal", "process.kill")
    }


def test_a_guest_keeps_programs_by_id(load: Loader, world: World) -> None:
    guest = load("cat", "sleep", persistent=True)
    name = guest("spawn_persistent", command("cat", keep=True, label="mine"))["ok"]
    info = guest("status", name)["ok"]
    assert (info["label"], info["phase"], info["stdin_open"]) == ("mine", "running", True)
    assert guest("status_many", [name, "gone"])["ok"][0]["id"] == name
    assert [one["id"] for one in guest("list_processes", "mine")["ok"]] == [name]
    assert guest("write_stdin", name, {"bytes": "kept"}) == {"ok": 4}
    handle = guest("attach", name)["ok"]
    assert guest("handle.subscribe_logs", handle) == {"ok": True}
    chunk = guest("read_since", name, {"stream": "STDOUT"}, {"cursor": None}, 100)["ok"]
    assert (chunk["data"], chunk["drained_eof"]) == ("kept", False)
    assert guest("read_logs", name)["ok"]["stdout"] == "kept"
    assert guest("signal", name, {"signal": "STOP"}) == {"ok": None}
    assert guest("signal", name, {"signal": "CONT"}) == {"ok": None}
    events = world.services.bus.subscribe("astrid.process.v1.*")
    assert guest("watch", name, "not.one") == {"err": "InvalidInput"}
    assert guest("watch", name, "cat") == {"ok": None}
    assert guest("unwatch", name) == {"ok": None}
    assert guest("close_stdin", name) == {"ok": None}
    assert guest("wait", name, 5000)["ok"] == {"exit_code": 0, "signal": None}
    assert not events.is_ready()
    assert guest("watch", name, None) == {"ok": None}
    assert wait_any((events,), timeout_s=5)
    (event,) = events.take(max_bytes=10**6).messages
    assert (event.topic, event.principal) == (f"astrid.process.v1.exited.{name}", "alice")
    ended = {"exit_code": 0, "signal": None}
    assert json.loads(event.payload) == {"id": name, "exit": ended}
    assert guest("handle.drop", handle) == {"ok": None}
    assert guest("release_process", name) == {"ok": None}
    other = guest("spawn_persistent", command("sleep", "60"))["ok"]
    assert guest("stop", other, 1000)["ok"] == {"exit_code": None, "signal": 15}
    assert guest("status", other) == {"err": "NoSuchProcess"}


def test_a_guest_denied_when_its_manifest_lists_nothing(load: Loader, world: World) -> None:
    guest = load(persistent=True)
    for function in ("spawn", "spawn_background", "spawn_persistent"):
        assert guest(function, command("true")) == {"err": "CapabilityDenied"}
    assert [event.rule for event in world.decisions] == ["host_process"] * 3
    bare = load("true")
    assert bare("spawn_persistent", command("true")) == {"err": "PersistUnsupported"}


def test_a_guest_denied_when_a_process_is_somebody_elses(load: Loader) -> None:
    guest = load("cat", persistent=True)
    name = guest("spawn_persistent", command("cat", keep=True))["ok"]
    calls: dict[str, tuple[Any, ...]] = {
        "attach": (),
        "status": (),
        "read_logs": (),
        "read_since": ({"stream": "STDERR"}, {"cursor": None}, 1),
        "write_stdin": ({"bytes": "x"},),
        "close_stdin": (),
        "signal": ({"signal": "INT"},),
        "wait": (1,),
        "stop": (None,),
        "watch": (None,),
        "unwatch": (),
    }
    for function, arguments in calls.items():
        assert guest(function, name, *arguments, principal="bob") == {"err": "NoSuchProcess"}
    assert guest("list_processes", None, principal="bob") == {"ok": []}
    assert guest("status_many", [name], principal="bob") == {"ok": []}
    assert guest("release_process", name, principal="bob") == {"ok": None}
    assert guest("status", name)["ok"]["phase"] == "running"


def test_nothing_outlives_an_unload(load: Loader, world: World) -> None:
    guest = load("sleep", persistent=True)
    handle = guest("spawn_background", command("sleep", "60"))["ok"]
    pid = guest("handle.os_pid", handle)["ok"]
    kept = guest("status", guest("spawn_persistent", command("sleep", "60"))["ok"])["ok"]["os_pid"]
    load.unload()
    assert ends(pid)
    assert not ends(kept, within_s=0.1)
    world.processes.end_unloaded(lambda _load: False)  # as the kernel does when one went
    assert ends(kept)


def ends(pid: int, *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if text.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


@contextlib.contextmanager
def prepared(base: Path, factory: pytest.TempPathFactory, body: str) -> Iterator[Daemon]:
    """A daemon that is not started yet and has the guest, with this manifest."""
    sandbox_or_skip()
    component = process_guest(factory).read_bytes()
    source = write_capsule(base / "probe", component, manifest("probe", body=body))
    with daemon_home() as daemon:
        prepare(daemon.home, lambda kernel: install(kernel, source))
        yield daemon


MANIFEST = """
[capabilities]
host_process = ["sleep"]
allow_persistent = true
[subscribe]
"probe.v1.background" = { wit = "opaque", handler = "spawn_background" }
"probe.v1.persistent" = { wit = "opaque", handler = "spawn_persistent" }
"""


def test_nothing_outlives_the_daemon(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with prepared(tmp_path, tmp_path_factory, MANIFEST) as daemon:
        for end in (daemon.kill, daemon.signal):
            daemon.start("--workspace", str(tmp_path))
            started = running_below(daemon, f"3{secrets.randbelow(10**9)}")
            end()
            assert len(started) == 2
            assert all(ends(pid) for pid in started)
        assert len(daemon.records(action="process.spawn-persistent")) == 2


WATCHING = """
[capabilities]
host_process = ["sh"]
allow_persistent = true
[subscribe]
"probe.v1.keep" = { wit = "opaque", handler = "keep_watched" }
"astrid.process.v1.log-ready.*" = { wit = "opaque", handler = "on_output" }
"""


def test_a_guest_hears_of_the_process_that_it_watches(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with prepared(tmp_path, tmp_path_factory, WATCHING) as daemon:
        daemon.start("--workspace", str(tmp_path))
        with daemon.connect() as client:
            pattern = "astrid.process.v1.exited.*"
            assert client.ask("Subscribe", params={"pattern": pattern})["status"] == "Success"
            for suffix, script in (("ends", "exit 3"), ("prints", "echo x; sleep 60")):
                data = [suffix, command("sh", "-c", script)]
                client.send("probe.v1.keep", {"type": "custom", "data": data})
            event = client.receive()
            assert event is not None
            assert event["topic"] == "astrid.process.v1.exited.ends"
            assert event["payload"]["exit"] == {"exit_code": 3, "signal": None}
        deadline = time.monotonic() + 30
        while not (stopped := daemon.records(action="process.stop")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(stopped) == 1


def running_below(daemon: Daemon, mark: str) -> list[int]:
    """Have the guest start a process of each tier; their numbers."""
    with daemon.connect() as client:
        for tier in ("background", "persistent"):
            payload = {"type": "custom", "data": [command("sleep", mark)]}
            client.send(f"probe.v1.{tier}", payload)
        deadline = time.monotonic() + 60
        while len(running(mark)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    return running(mark)


def running(mark: str) -> list[int]:
    """Confined `sleep`s with this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().endswith(f"sleep\0{mark}\0".encode()):
                    found += [int(entry.name)] if (entry / "comm").read_text() == "sleep\n" else []
    return found


def test_every_function_of_the_interface_is_called_here() -> None:
    text = Path(__file__).read_text()
    functions = [name.removeprefix(LOCKED) for name, shapes in load_abi().items() if shapes]
    mine = [name for name in functions if f"{LOCKED}{name}" in load_abi()]
    assert len(mine) == 27
    for name in mine:
        method = name.removeprefix("[method]process-").replace("-", "_")
        assert f'"{method}"' in text, name
