"""Whose processes end when: cancel requests, capsules that go, kernels that close."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.domain.payload import encode
from astrid_core.domain.payload_variants import RawJson, ToolCancelRequest, ToolExecuteRequest
from astrid_core.host.process_service import ExitInfo
from astrid_core.kernel.processes import table as table_module
from astrid_core.kernel.processes.cancelling import CANCEL_TOPIC, call_id_of, cancels_processes
from astrid_core.kernel.processes.child import Child
from astrid_core.kernel.processes.environment import ProcessEnvironment
from astrid_core.kernel.processes.ring import Ring
from astrid_core.kernel.processes.table import ProcessTable
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.errors import QuotaExceededError, SandboxError
from astrid_hookspecs.sandboxes import SandboxedCommand
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.doomed_processes import ADA, launch
from tests.support.sandboxes import sandbox_or_skip

BOB = Principal("bob")
KILLED = ExitInfo(None, signal.SIGKILL)
STUBBORN = "trap '' INT; echo x; while :; do sleep 0.05; done"
POLITE = "trap 'exit 5' INT; echo x; while :; do sleep 0.05; done"


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    made = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    yield made
    made.close()


def started(table: ProcessTable, tmp_path: Path, script: str, **fields: object) -> Child:
    child = table.start(launch(tmp_path, "sh", "-c", script, **fields))  # type: ignore[arg-type]
    assert wait_any((child.has_output,), timeout_s=5)
    return child


def ended(child: Child, *, within_s: float = 5.0) -> ExitInfo | None:
    wait_any((child.exited,), timeout_s=within_s)
    return child.exit


def cancel(table: ProcessTable, principal: Principal | None, *call_ids: str) -> None:
    bus = MemoryBus()
    bus.add_listener(CANCEL_TOPIC, cancels_processes(table))
    kind, payload = encode(ToolCancelRequest(call_ids=list(call_ids)))
    bus.publish(Envelope(CANCEL_TOPIC, payload, kind, principal=principal))
    bus.close()


def test_the_memory_of_programs_is_their_principals(table: ProcessTable, tmp_path: Path) -> None:
    grow = (
        "import time; data = bytearray(b'x') * (24 << 20); print('x', flush=True); time.sleep(60)"
    )
    child = table.start(launch(tmp_path, "sh", "-c", f'python3 -c "{grow}"; true'))
    assert wait_any((child.has_output,), timeout_s=30)
    assert table.memory_bytes(ADA) >= 24 << 20
    assert table.memory_bytes(BOB) == 0
    child.kill()
    assert ended(child) == KILLED
    assert table.memory_bytes(ADA) == 0


@pytest.mark.slow
def test_a_cancel_request_asks_and_then_insists(
    table: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "CANCEL_GRACE_S", 20.0)
    polite = started(table, tmp_path, POLITE, call_id="c-1")
    nameless = started(table, tmp_path, POLITE)
    other_call = started(table, tmp_path, POLITE, call_id="c-2")
    other_person = started(table, tmp_path, POLITE, call_id="c-1", principal=BOB)
    lasting = started(table, tmp_path, POLITE, tier="persistent")
    cancel(table, ADA, "c-1")
    assert ended(polite) == ExitInfo(5, None)
    assert ended(nameless) == ExitInfo(5, None)
    for spared in (other_call, other_person, lasting):
        assert spared.exit is None
    cancel(table, None, "c-1", "c-2")
    assert ended(other_person) == ended(other_call) == ExitInfo(5, None)
    monkeypatch.setattr(table_module, "CANCEL_GRACE_S", 0.3)
    stubborn = started(table, tmp_path, STUBBORN, call_id="c-3")
    cancel(table, ADA, "c-3")
    assert ended(stubborn) == KILLED


def stop_by_cancelling(table: ProcessTable, go_on: threading.Event) -> None:
    cancel(table, ADA, "c-1")
    go_on.set()


def stop_by_unloading(table: ProcessTable, go_on: threading.Event) -> None:
    table.end_unloaded(lambda _load: False)
    go_on.set()


def stop_by_closing(table: ProcessTable, go_on: threading.Event) -> None:
    table._watches.close = go_on.set  # when all are known
    table.close()


@pytest.mark.parametrize("stop", [stop_by_cancelling, stop_by_unloading, stop_by_closing])
def test_what_is_about_to_start_when_all_of_its_kind_end_is_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[ProcessTable, threading.Event], None],
) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    begin = Child.begin
    began: list[Child] = []

    def late(child: Child, command: SandboxedCommand) -> int:
        began.append(child)
        arrived.set()
        go_on.wait(10)
        return begin(child, command)

    monkeypatch.setattr(Child, "begin", late)
    table = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    asked = launch(tmp_path, "sleep", "60", call_id="c-1")
    starter = threading.Thread(target=lambda: table.start(asked))
    starter.start()
    assert arrived.wait(10)
    stop(table, go_on)
    starter.join(10)
    assert ended(began[0]) == KILLED
    if stop is not stop_by_closing:
        table.close()


def test_a_process_that_has_just_started_counts_once(
    table: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    call = table._reactor.call

    def late(job: Callable[[], object]) -> object:
        result = call(job)
        if not begun.is_set():
            begun.set()
            go_on.wait(10)
        return result

    monkeypatch.setattr(table._reactor, "call", late)
    asked = replace(launch(tmp_path, "sleep", "60"), max_background=2)
    first = threading.Thread(target=lambda: table.start(asked))
    first.start()
    assert begun.wait(10)
    try:
        table.start(asked)
    finally:
        go_on.set()
        first.join(10)
    with pytest.raises(QuotaExceededError):
        table.start(asked)


def test_processes_that_are_kept_at_once_are_no_more_than_may_be(
    table: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "MAX_RETAINED", 1)
    arrived, go_on = threading.Event(), threading.Event()
    begin = Child.begin

    def late(child: Child, command: SandboxedCommand) -> int:
        arrived.set()
        go_on.wait(1)  # whether or not another one comes
        return begin(child, command)

    monkeypatch.setattr(Child, "begin", late)
    asked = launch(tmp_path, "sleep", "60", tier="persistent")
    first = threading.Thread(target=lambda: table.persist(asked))
    first.start()
    assert arrived.wait(10)
    with pytest.raises(QuotaExceededError, match="remembered"):
        table.persist(asked)
    go_on.set()
    first.join(10)
    assert len(table.of(CapsuleId("c"), ADA)) == 1


def test_a_cancel_request_of_nobody_ends_nothing(table: ProcessTable, tmp_path: Path) -> None:
    child = started(table, tmp_path, POLITE)
    cancel(table, ADA)
    kind, payload = encode(RawJson(value={"call_ids": ["x"]}))
    cancels_processes(table)(Envelope(CANCEL_TOPIC, payload, kind, principal=ADA))
    cancels_processes(table)(Envelope(CANCEL_TOPIC, b"{}", "tool_cancel_request", principal=ADA))
    assert ended(child, within_s=0.2) is None


def test_the_call_of_a_message_is_known() -> None:
    kind, payload = encode(ToolExecuteRequest(call_id="c-9", tool_name="t", arguments={}))
    assert call_id_of(Envelope("tool.v1.execute.t", payload, kind)) == "c-9"
    assert call_id_of(Envelope("tool.v1.execute.t", b"{", kind)) is None
    assert call_id_of(Envelope("x", payload)) is None


def test_processes_of_a_capsule_end_with_it(table: ProcessTable, tmp_path: Path) -> None:
    mine = started(table, tmp_path, STUBBORN)
    kept = table.persist(launch(tmp_path, "sleep", "60", tier="persistent"))
    other = started(table, tmp_path, STUBBORN, load="load-3")
    successor = started(table, tmp_path, STUBBORN, load="load-2")
    table.end_unloaded(lambda load: load != "load-1")
    assert ended(mine) == ended(kept.process) == KILLED
    assert table.of(CapsuleId("c"), ADA) == []
    assert (other.exit, successor.exit) == (None, None)


def test_a_closed_table_has_ended_everything_and_starts_nothing(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    children = [started(table, tmp_path, STUBBORN) for _ in range(3)]
    table.close()
    assert [child.exit for child in children] == [KILLED] * 3
    with pytest.raises(SandboxError, match="closing"):
        table.start(launch(tmp_path, "true"))


def test_usage_is_told_and_remembered(table: ProcessTable, tmp_path: Path) -> None:
    child = started(table, tmp_path, "echo x; sleep 60")
    usage = child.usage()
    assert usage.cpu_ms is not None
    assert (usage.peak_bytes or 0) > 0
    child.kill()
    ended(child)
    assert child.usage() == usage


def test_programs_are_looked_for_where_the_kernel_looks(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "mine"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    environment = ProcessEnvironment.of(
        {"PATH": f"relative:{tool.parent}", "HOME": "/h", "LC_ALL": "C", "SECRET": "x"}
    )
    with pytest.raises(SandboxError, match="no program 'mine'"):
        environment.program("mine", directory=tmp_path)
    tool.chmod(0o755)
    assert environment.program("mine", directory=tmp_path) == tool
    assert environment.program("bin/mine", directory=tmp_path) == tool
    assert set(environment.variables) == {"PATH", "HOME", "LC_ALL", "TMPDIR"}
    assert "relative" not in environment.places


def test_a_ring_keeps_the_newest_and_counts_the_rest() -> None:
    ring = Ring(4)
    ring.append(b"abcdef")
    assert (len(ring), ring.lost, ring.end, ring.space) == (4, 2, 6, 0)
    assert ring.since(0, max_bytes=2) == (b"cd", 2, False)
    assert ring.since(9, max_bytes=2) == (b"", 6, False)
    assert ring.take() == b"cdef"
    ring.append(b"g")
    ring.is_ended = True
    assert ring.since(6, max_bytes=9) == (b"g", 6, True)
    for _ in range(70_000):
        ring.append(b"zz")
    assert (len(ring), ring.take()) == (4, b"zzzz")


def test_a_failure_of_one_job_is_not_the_end_of_the_reactor(
    table: ProcessTable, tmp_path: Path
) -> None:
    table._reactor.submit(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    began = time.monotonic()
    assert ended(started(table, tmp_path, "echo x")) == ExitInfo(0, None)
    assert time.monotonic() - began < 5
