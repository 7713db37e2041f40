"""`astrid:process@1.0.0` against the real process table and sandbox.

Ids of cases carry the numbers of the reference's vectors (host-abi 21.7).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from astrid_core.builtin.host_vfs import open_host_directory
from astrid_core.host.instance import Instance
from astrid_core.host.mount import Mount
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.kernel.sandboxes import Sandboxes
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.sandboxes import ProcessSandboxRecord
from tests.support.sandboxes import sandbox_or_skip
from tests.unit.host.conftest import World

PROCESS = "astrid:process/host@1.0.0"
SH = ("sh", "cat", "sleep", "true")
Call = Callable[..., tuple[str, Any]]


class Lease:
    def __init__(self, mount: Mount) -> None:
        self.mount = mount

    def close(self) -> None:
        self.mount.root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Workspace:
    """A workspace on the disk and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def schemes(self) -> frozenset[str]:
        return frozenset({"workspace", "home", "tmp"})

    def lease(self, principal: str, scheme: str, *, install_directory: Path | None = None) -> Lease:
        del principal, install_directory
        root = open_host_directory(self.root, foreign=True)
        return Lease(Mount(scheme, root, str(self.root), creates_parents=True))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[ProcessTable]:
    (tmp_path / "notes").mkdir()
    sandbox_or_skip()
    notes = tmp_path / "notes"
    sandboxes = Sandboxes([ProcessSandboxRecord("bubblewrap", 1, sandbox_or_skip)], hidden=(notes,))
    table = ProcessTable(notes, sandbox=sandboxes.choose)
    yield table
    table.close()


@pytest.fixture
def opened(world: World, processes: ProcessTable, tmp_path: Path) -> Callable[..., Instance]:
    (tmp_path / "ws" / "sub").mkdir(parents=True)
    world.files = Workspace(tmp_path / "ws")  # type: ignore[assignment]

    def make(*entries: str, **options: Any) -> Instance:
        services = {"processes": processes, **options.pop("services", {})}
        return world.open(host_process=entries or SH, services=services, **options)

    return make


def request(*argv: str, stdin: bytes | None = None, **fields: Any) -> tuple[Any, ...]:
    """A `spawn-request` of shape A, or of shape C with any of its fields."""
    env = [tuple(pair.split("=", 1)) for pair in fields.pop("env", ())]
    shape_a = (argv[0], list(argv[1:]), stdin, env, fields.pop("cwd", None))
    if not fields:
        return shape_a
    names = ("limits", "files", "label", "keep", "overflow", "ring", "lifetime", "idle", "kept")
    return (*shape_a, *(fields.get(name, [] if name == "files" else None) for name in names))


@pytest.fixture
def run(call: Call) -> Call:
    def outcome(instance: Instance, function: str, *arguments: Any) -> tuple[str, Any]:
        return call(instance, function, *arguments, interface=PROCESS)

    return outcome


def spawned(run: Call, instance: Instance, *argv: str, **fields: Any) -> Any:
    case, handle = run(instance, "spawn-background", request(*argv, **fields))
    assert case == "ok", (case, handle)
    return handle


def test_spawn_answers_output_and_exit(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    script = "cat; echo err >&2; printf '\\377'; exit 3"
    case, result = run(instance, "spawn", request("sh", "-c", script, stdin=b"in "))
    assert (case, result) == ("ok", ("in \ufffd", "err\n", (3, None)))
    assert run(instance, "spawn", request("sh", "-c", "kill -9 $$"))[1].exit == (None, 9)


@pytest.mark.parametrize(
    ("entries", "argv", "expected"),
    [
        pytest.param(["true"], ["true"], "ok", id="125-equal"),
        pytest.param(["true"], ["truex"], "capability-denied", id="125-longer-name"),
        pytest.param(["true"], ["/usr/bin/true"], "capability-denied", id="125-path"),
        pytest.param(["none"], ["true"], "capability-denied", id="125-no-list"),
        pytest.param(["sh -c"], ["sh", "-c", "true"], "ok", id="126-first-words"),
        pytest.param(["sh -c"], ["sh", "x"], "capability-denied", id="126-other-words"),
        pytest.param(["gone"], ["gone"], "unknown", id="absent-program"),
    ],
)
def test_commands_are_compared_with_the_manifest(
    opened: Callable[..., Instance], run: Call, entries: list[str], argv: list[str], expected: str
) -> None:
    assert run(opened(*entries), "spawn", request(*argv))[0] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"cwd": "../x"}, "boundary-escape", id="127-above"),
        pytest.param({"cwd": "/tmp"}, "boundary-escape", id="127-absolute"),
        pytest.param({"cwd": "out"}, "boundary-escape", id="127-link"),
        pytest.param({"env": ["A-B=x"]}, "invalid-input", id="127-key"),
        pytest.param({"env": ["LD_PRELOAD=x"]}, "invalid-input", id="127-forbidden"),
        pytest.param({"cwd": "missing"}, "invalid-input", id="missing"),
        pytest.param({"cwd": "sub"}, "ok", id="inside"),
        pytest.param({"stdin": b"x" * (4 << 20)}, "ok", id="most-input"),
        pytest.param({"stdin": b"x" * ((4 << 20) + 1)}, "too-large", id="more-input"),
    ],
)
def test_requests_are_checked(
    opened: Callable[..., Instance],
    run: Call,
    tmp_path: Path,
    fields: dict[str, Any],
    expected: str,
) -> None:
    instance = opened()
    (tmp_path / "ws" / "out").symlink_to("/usr")
    assert run(instance, "spawn", request("true", **fields))[0] == expected


def test_the_environment_is_the_listed_one(opened: Callable[..., Instance], run: Call) -> None:
    found = run(opened(), "spawn", request("sh", "-c", "env; pwd", env=["MINE=x y"], cwd="sub"))
    lines = found[1].stdout.splitlines()
    names = {line.partition("=")[0] for line in lines[:-1]} - {"PWD", "OLDPWD", "_", "SHLVL"}
    listed = {"PATH", "HOME", "LANG", "TZ", "TERM", "USER", "TMPDIR", "MINE"}
    assert {name for name in names if not name.startswith("LC_")} <= listed
    assert "MINE=x y" in lines
    assert lines[-1].endswith("/ws/sub")


def test_128_background_processes_are_counted(
    opened: Callable[..., Instance], run: Call, world: World
) -> None:
    world.quotas.max_background_processes = 256
    instance = opened()
    handles = [spawned(run, instance, "sleep", "60") for _ in range(8)]
    pid = run(instance, "[method]process-handle.os-pid", handles[0])[1]
    assert run(instance, "spawn-background", request("sleep", "60"))[0] == "quota"
    assert world.decisions[-1].rule == "process.per-capsule"
    handles[0].drop()
    assert run(instance, "spawn-background", request("sleep", "60"))[0] == "ok"
    world_wait(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def test_background_processes_denied_when_the_profile_is_used_up(
    opened: Callable[..., Instance], run: Call, world: World
) -> None:
    world.quotas.max_background_processes = 1
    one, other = opened(capsule="one"), opened(capsule="other")
    spawned(run, one, "sleep", "60")
    assert run(other, "spawn-background", request("sleep", "60"))[0] == "quota"
    assert world.decisions[-1].rule == "max_background_processes"
    somebody = opened(capsule="other", principal="bob")
    assert run(somebody, "spawn-background", request("sleep", "60"))[0] == "ok"


def test_129_the_ring_keeps_the_last_mebibyte(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    script = "head -c 1048576 /dev/zero | tr '\\0' a; head -c 1048576 /dev/zero | tr '\\0' b"
    handle = spawned(run, instance, "sh", "-c", script)
    assert run(instance, "[method]process-handle.wait", handle, None) == ("ok", (0, None))
    world_wait(handle._process.drained.is_ready)
    logs = run(instance, "[method]process-handle.read-logs", handle)[1]
    assert logs == ("b" * (1 << 20), "", False, (0, None))
    assert run(instance, "[method]process-handle.read-logs", handle)[1] == (
        "",
        "",
        False,
        (0, None),
    )


def world_wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert ready()


def test_130_waiting_killing_and_signals(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    handle = spawned(run, instance, "sleep", "60")
    method = "[method]process-handle."
    assert run(instance, f"{method}wait", handle, 10)[0] == "wait-timeout"
    killed = run(instance, f"{method}kill", handle)[1]
    assert (killed.killed, killed.exit) == (True, (None, signal.SIGKILL))
    assert run(instance, f"{method}read-logs", handle)[1].running is False
    assert run(instance, f"{method}signal", handle, "term")[0] == "closed"
    assert run(instance, f"{method}os-pid", handle)[0] == "closed"
    assert run(instance, f"{method}kill", handle)[1].killed is False
    assert run(instance, f"{method}wait", handle, 0) == ("ok", (None, signal.SIGKILL))


def test_131_input_and_output(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    handle = spawned(run, instance, "cat", stdin=b"first ")
    method = "[method]process-handle."
    assert run(instance, f"{method}write-stdin", handle, b"x") == ("ok", 1)
    assert run(instance, f"{method}close-stdin", handle) == ("ok", None)
    assert run(instance, f"{method}close-stdin", handle) == ("ok", None)
    assert run(instance, f"{method}write-stdin", handle, b"y")[0] == "closed"
    result = run(instance, f"{method}wait-with-output", handle, 5000)[1]
    assert result == ("first x", "", (0, None))


def test_input_is_bounded_and_told_when_it_is_lost(
    opened: Callable[..., Instance], run: Call
) -> None:
    instance = opened()
    write = "[method]process-handle.write-stdin"
    handle = spawned(run, instance, "sh", "-c", "sleep 0.2")
    assert run(instance, write, handle, b"x" * ((1 << 20) + 1))[0] == "too-large"
    assert run(instance, write, handle, b"x" * (1 << 20))[0] == "closed"
    reader = spawned(run, instance, "sh", "-c", "cat > /dev/null")
    for _ in range(4):
        assert run(instance, write, reader, b"x" * (1 << 20))[0] == "ok"
    assert run(instance, write, reader, b"x")[0] == "too-large"


def test_signals_are_answered(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.02; done"
    handle = spawned(run, instance, "sh", "-c", script)
    logs = run(instance, "[method]process-handle.subscribe-logs", handle)[1]
    assert not run(instance, "[method]process-handle.subscribe-exit", handle)[1].source.is_ready()
    world_wait(logs.source.is_ready)
    assert run(instance, "[method]process-handle.signal", handle, "usr1")[0] == "ok"
    assert run(instance, "[method]process-handle.wait", handle, 5000) == ("ok", (7, None))


def test_a_wait_ends_with_the_call(opened: Callable[..., Instance], run: Call) -> None:
    token = CancelToken()
    instance = opened(cancel=token)
    handle = spawned(run, instance, "sleep", "60")
    token.fire()
    assert run(instance, "[method]process-handle.wait", handle, None)[0] == "cancelled"
    assert run(instance, "spawn", request("sleep", "60"))[0] == "cancelled"


def test_what_happens_is_on_record_without_variables(
    opened: Callable[..., Instance], run: Call, world: World
) -> None:
    instance = opened()
    run(instance, "spawn", request("sh", "-c", "true", env=["TOKEN=battery"], stdin=b"staple"))
    entry = world.audited[-1]
    assert (entry.action, entry.resource, entry.rule) == ("process.spawn", "sh", "host_process:sh")
    assert entry.detail == {"command": "sh", "arguments": ["-c", "true"], "cwd": ""}
    run(instance, "spawn", request("git"))
    assert world.decisions[-1].action == "process.spawn"
    assert "battery" not in repr(world.audited) + repr(world.decisions)


def test_a_process_denied_when_it_cannot_be_recorded(
    opened: Callable[..., Instance], run: Call, world: World
) -> None:
    instance = opened()
    world.audit_fails = True
    assert run(instance, "spawn", request("true"))[0] == "unknown"


def test_a_process_denied_when_the_profile_says_so(
    opened: Callable[..., Instance], run: Call, world: World
) -> None:
    world.process_allow = ("cat",)
    assert run(opened(), "spawn", request("true"))[0] == "capability-denied"
    assert world.decisions[-1].rule == "process.allow"


def test_a_process_denied_when_nothing_confines_it(
    opened: Callable[..., Instance], run: Call, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    table = ProcessTable(tmp_path / "other", sandbox=Sandboxes([]).choose)
    instance = opened(services={"processes": table})
    assert run(instance, "spawn", request("true")) == (
        "unknown",
        "this machine cannot confine processes",
    )
    table.close()


def test_processes_of_an_instance_end_with_it(opened: Callable[..., Instance], run: Call) -> None:
    instance = opened()
    handle = spawned(run, instance, "sleep", "60")
    process = handle._process
    instance.close()
    world_wait(lambda: process.exit is not None)
