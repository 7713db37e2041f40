"""The persistent tier of `astrid:process@1.0.0`: ids, output by position, and who may ask."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.host.instance import Instance
from astrid_core.kernel.processes import table as process_table
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.engines import Caller
from astrid_hookspecs.values import Principal
from tests.unit.host.conftest import World
from tests.unit.host.test_host_process import (
    SH,
    opened,
    processes,
    request,
    run,
    spawned,
    world_wait,
)

__all__ = ["opened", "processes", "run"]
Open = Callable[..., Instance]
Run = Callable[..., tuple[str, Any]]


def kept(run: Run, instance: Instance, *argv: str, **fields: Any) -> str:
    case, found = run(
        instance, "spawn-persistent", request(*argv, label=fields.pop("label", ""), **fields)
    )
    assert case == "ok", (case, found)
    return str(found)


def test_a_process_outlives_its_instance_and_is_asked_by_id(opened: Open, run: Run) -> None:
    first = opened(*SH, persistent=True)
    name = kept(run, first, "cat", keep=True, label="a\nb")
    first.close()
    later = opened(*SH, persistent=True)
    info = run(later, "status", name)[1]
    assert (info.id, info.label, info.command) == (name, "ab", "cat")
    assert (info.phase, info.exit, info.stdin_open) == ("running", None, True)
    assert run(later, "write-stdin", name, b"hello") == ("ok", 5)
    assert run(later, "close-stdin", name) == ("ok", None)
    assert run(later, "wait", name, 5000) == ("ok", (0, None))
    assert run(later, "read-logs", name)[1] == ("hello", "", False, (0, None))
    assert run(later, "status", name)[1].phase == "exited"
    assert run(later, "release-process", name) == ("ok", None)
    assert run(later, "release-process", name) == ("ok", None)
    assert run(later, "status", name)[0] == "no-such-process"


@pytest.mark.parametrize("other", [{"principal": "bob"}, {"capsule": "other"}])
def test_processes_of_others_denied_when_asked_for(
    opened: Open, run: Run, other: dict[str, str]
) -> None:
    name = kept(run, opened(*SH, persistent=True), "sleep", "60")
    stranger = opened(*SH, persistent=True, **other)
    calls: dict[str, tuple[Any, ...]] = {
        "attach": (),
        "status": (),
        "read-logs": (),
        "read-since": ("stdout", (None,), 10),
        "write-stdin": (b"x",),
        "close-stdin": (),
        "signal": ("term",),
        "wait": (0,),
        "stop": (None,),
        "watch": (None,),
        "unwatch": (),
    }
    for function, arguments in calls.items():
        assert run(stranger, function, name, *arguments)[0] == "no-such-process", function
        assert run(stranger, function, "x" * 32, *arguments)[0] == "no-such-process", function
    assert run(stranger, "list-processes", None) == ("ok", [])
    assert run(stranger, "status-many", [name, ""]) == ("ok", [])
    assert run(stranger, "status-many", [name] * 1025)[0] == "too-large"
    assert run(stranger, "release-process", name) == ("ok", None)
    assert run(opened(*SH, persistent=True), "status", name)[1].phase == "running"


def test_persistence_denied_when_the_manifest_does_not_ask_for_it(
    opened: Open, run: Run, world: World
) -> None:
    assert run(opened(), "spawn-persistent", request("true"))[0] == "persist-unsupported"
    assert world.decisions[-1].rule == "capabilities.allow_persistent"
    assert (
        run(opened(persistent=True), "spawn-persistent", request("git"))[0] == "capability-denied"
    )


def test_persistence_denied_when_nobody_is_named(opened: Open, run: Run) -> None:
    loop = opened(persistent=True, purpose="run")
    assert run(loop, "spawn-persistent", request("true"))[0] == "persist-unsupported"
    loop.caller = Caller(Principal("alice"), Attribution.VERIFIED, "", "")
    assert run(loop, "spawn-persistent", request("true"))[0] == "ok"


def test_output_is_read_by_position_and_stays(opened: Open, run: Run) -> None:
    instance = opened(persistent=True)
    script = "head -c 5000 /dev/zero | tr '\\0' a; printf end"
    name = kept(run, instance, "sh", "-c", script, ring=4096)
    run(instance, "wait", name, 5000)
    process = instance.services.processes.find(instance.context.id, instance.principal, name)
    assert process is not None
    world_wait(process.process.drained.is_ready)
    first = run(instance, "read-since", name, "stdout", (None,), 4000)[1]
    assert (first.data, first.bytes_dropped, first.drained_eof) == (b"a" * 4000, 0, False)
    second = run(instance, "read-since", name, "stdout", first.next, 4000)[1]
    assert (second.data, second.drained_eof) == (b"a" * 93 + b"end", True)
    behind = run(instance, "read-since", name, "stdout", ("0.0",), 1)[1]
    assert (behind.data, behind.bytes_dropped) == (b"a", 907)
    assert run(instance, "read-since", name, "stdout", ("x",), 1)[0] == "invalid-input"
    assert run(instance, "read-since", name, "stdout", (None,), (4 << 20) + 1)[0] == "too-large"
    info = run(instance, "status", name)[1]
    assert (info.buffered_bytes, info.bytes_dropped) == (4096, 907)


def test_backpressure_stops_the_process_instead_of_losing_output(opened: Open, run: Run) -> None:
    instance = opened(persistent=True)
    script = "head -c 300000 /dev/zero | tr '\\0' a; echo done >&2"
    name = kept(run, instance, "sh", "-c", script, ring=4096, overflow="backpressure")
    seen = 0
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and seen < 300_000:
        logs = run(instance, "read-logs", name)[1]
        seen += len(logs.stdout)
    assert seen == 300_000
    assert run(instance, "status", name)[1].bytes_dropped == 0


def test_stop_asks_then_insists_and_forgets(opened: Open, run: Run, world: World) -> None:
    instance = opened(persistent=True)
    loop = "echo ready; while :; do sleep 0.02; done"
    polite = kept(run, instance, "sh", "-c", f"trap 'exit 4' TERM; {loop}")
    world_wait(lambda: bool(run(instance, "status", polite)[1].buffered_bytes))
    assert run(instance, "stop", polite, None) == ("ok", (4, None))
    stubborn = kept(run, instance, "sh", "-c", f"trap '' TERM; {loop}")
    world_wait(lambda: bool(run(instance, "status", stubborn)[1].buffered_bytes))
    assert run(instance, "stop", stubborn, 30_001)[0] == "invalid-input"
    assert run(instance, "stop", stubborn, 50) == ("ok", (None, signal.SIGKILL))
    assert run(instance, "status", stubborn)[0] == "no-such-process"
    entry = world.audited[-1]
    assert entry.action == "process.stop"
    assert entry.detail["id_hash"] not in (None, stubborn)
    assert stubborn not in repr(world.audited)


def test_attached_handles_let_go(opened: Open, run: Run) -> None:
    instance = opened(persistent=True)
    name = kept(run, instance, "sleep", "60")
    handle = run(instance, "attach", name)[1]
    assert run(instance, "[method]process-handle.wait", handle, None)[0] == "invalid-input"
    assert run(instance, "[method]process-handle.wait", handle, 1)[0] == "wait-timeout"
    handle.drop()
    assert run(instance, "status", name)[1].phase == "running"
    assert run(instance, "signal", name, "stop")[0] == "ok"
    assert run(instance, "signal", name, "cont")[0] == "ok"
    assert run(instance, "release-process", name)[0] == "invalid-input"


def test_persistent_processes_share_the_limit_and_are_listed(opened: Open, run: Run) -> None:
    instance = opened(persistent=True)
    names = [kept(run, instance, "sleep", "60", label=f"l{number % 2}") for number in range(7)]
    spawned(run, instance, "sleep", "60")
    assert run(instance, "spawn-persistent", request("sleep", "60"))[0] == "quota"
    listed = run(instance, "list-processes", None)[1]
    assert [info.id for info in listed] == names
    assert [info.id for info in run(instance, "list-processes", "l1")[1]] == names[1::2]


def test_ended_processes_fill_the_registry(
    opened: Open, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_table, "MAX_RETAINED", 2)
    instance = opened(persistent=True)
    for _ in range(2):
        run(instance, "wait", kept(run, instance, "true"), 5000)
    assert run(instance, "spawn-persistent", request("true"))[0] == "registry-full"


@pytest.mark.parametrize("fields", [{"lifetime": 100}, {"idle": 100}])
def test_processes_end_when_their_time_is_over(
    opened: Open, run: Run, fields: dict[str, int]
) -> None:
    instance = opened(persistent=True)
    name = kept(run, instance, "sleep", "60", **fields)
    assert run(instance, "wait", name, 5000) == ("ok", (None, signal.SIGKILL))


def test_an_end_is_remembered_for_a_while(opened: Open, run: Run) -> None:
    instance = opened(persistent=True)
    name = kept(run, instance, "true", kept=100)
    run(instance, "wait", name, 5000)
    world_wait(lambda: run(instance, "status", name)[0] == "no-such-process")


def test_files_are_handed_over_read_only(opened: Open, run: Run, world: World) -> None:
    instance = opened()
    script = 'cat "$KEY" /tmp/deep/fixed; echo x > "$KEY"; echo x > /tmp/deep/fixed; ls /tmp/deep'
    files = [(b"secret ", ("env-pointer", "KEY")), (b"other ", ("fixed-path", "/tmp/deep/fixed"))]
    result = run(instance, "spawn", request("sh", "-c", script, files=files))[1]
    assert result.stdout == "secret other fixed\n"
    assert result.stderr.count("cannot create") == 2
    assert len(str(world.audited[-1].detail["content_hash"]).split()) == 2
    assert "secret" not in repr(world.audited)
    bad = [(b"x", ("fixed-path", "/usr/new"))]
    assert run(instance, "spawn", request("true", files=bad))[0] == "invalid-input"


@pytest.mark.slow
def test_limits_tighten_and_never_widen(opened: Open, run: Run) -> None:
    most = (2**64 - 1, 2**64 - 1, 2**32 - 1, 2**32 - 1)
    wide = run(opened(), "spawn", request("sh", "-c", "ulimit -n", limits=most))[1]
    assert wide.stdout == "4096\n"
    narrow = (None, 1, None, None)
    busy = run(opened(), "spawn", request("sh", "-c", "while :; do :; done", limits=narrow))[1]
    assert busy.exit in {(None, signal.SIGKILL), (None, signal.SIGXCPU)}


def test_files_are_gone_with_the_process(opened: Open, run: Run, tmp_path: Path) -> None:
    files = [(b"secret", ("env-pointer", "KEY"))]
    run(opened(), "spawn", request("true", files=files))
    world_wait(lambda: not list((tmp_path / "notes" / "files").iterdir()))
