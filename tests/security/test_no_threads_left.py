"""What a system without threads leaves behind: a refusal, and nothing that is broken for good.

Whoever may start programs, or shares a container with the kernel, can use up its threads for a
moment. Here the system really refuses: no stack of the size asked for can be had.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.host import net_watch
from astrid_core.host.net_watch import READ, SocketReady, SocketWatcher, close_socket
from astrid_core.host.threads import started_thread
from astrid_core.kernel.mailboxes import Mailboxes, MailboxKey
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.kernel.reactor import Reactor
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_engine_mcp.aside import Aside
from astrid_engine_wasm.ticker import Ticker
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.errors import GuestLimitError, QuotaExceededError, SecretLockedError
from astrid_hookspecs.values import CapsuleId, Principal
from astrid_secrets_keychain.bounded import BoundedCaller
from tests.support.doomed_processes import launch
from tests.support.sandboxes import sandbox_or_skip

WAIT_S = 20.0
NO_STACK_BYTES = 1 << 46


@contextlib.contextmanager
def no_threads() -> Iterator[None]:
    before = threading.stack_size(NO_STACK_BYTES)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=print).start()
        yield
    finally:
        threading.stack_size(before)


def test_guests_are_stopped_again_after_the_clock_could_not_be_started() -> None:
    ticked = threading.Event()
    ticker = Ticker(ticked.set)
    with no_threads(), pytest.raises(GuestLimitError, match="no thread left"):
        ticker.enter()
    assert ticker.running == 0
    ticker.enter()
    assert ticked.wait(WAIT_S), "a guest that never returns would never be stopped"
    ticker.leave()
    ticker.close()


def test_processes_can_be_started_after_their_thread_could_not(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    try:
        with no_threads(), pytest.raises(QuotaExceededError, match="threads"):
            table.start(launch(tmp_path, "true"))
        child = table.start(launch(tmp_path, "true"))
        assert wait_any((child.exited,), timeout_s=WAIT_S)
    finally:
        table.close()


def test_watching_works_after_its_thread_could_not_be_started(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    told = threading.Event()
    try:
        kept = table.persist(launch(tmp_path, "sleep", "30"))
        with no_threads(), pytest.raises(QuotaExceededError, match="threads"):
            table.watch(kept, lambda _kind, _exit: told.set())
        table.watch(kept, lambda _kind, _exit: told.set())
        kept.process.kill()
        assert told.wait(WAIT_S)
    finally:
        table.close()


@pytest.mark.slow
def test_a_cancelled_process_ends_where_no_thread_can_ask_it_to(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path, sandbox=sandbox_or_skip)
    try:
        child = table.start(launch(tmp_path, "sleep", "30", call_id="c1"))
        with no_threads():
            table.cancel(None, ["c1"])
        assert wait_any((child.exited,), timeout_s=WAIT_S)
    finally:
        table.close()


def test_a_reactor_that_never_ran_can_be_stopped() -> None:
    reactor = Reactor("nobody")
    with no_threads(), pytest.raises(QuotaExceededError):
        reactor.submit(lambda: None)
    reactor.stop()


def test_an_event_is_refused_and_not_held_where_no_worker_can_be_started() -> None:
    pool = WorkerPool(size=1)
    handled = threading.Event()
    boxes: Mailboxes[str] = Mailboxes(pool, handle=lambda _item: handled.set())
    key = MailboxKey(CapsuleId("c"), Principal("ada"))
    with no_threads():
        assert not boxes.offer(key, "first", size_bytes=1)
    assert pool.stats()["waiting"] == 0
    assert boxes.offer(key, "second", size_bytes=1)
    assert handled.wait(WAIT_S)
    assert pool.close(timeout_s=WAIT_S)


def test_waiting_for_sockets_leaks_nothing_where_its_thread_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []

    def pipe() -> tuple[int, int]:
        ends = os_pipe()
        opened.extend(ends)
        return ends

    os_pipe = net_watch.os.pipe
    monkeypatch.setattr(net_watch.os, "pipe", pipe)
    with no_threads():
        for _ in range(8):
            with pytest.raises(QuotaExceededError):
                SocketWatcher()
    assert len(opened) == 16
    assert len(set(opened)) < 16, "each attempt leaves descriptors open"


def test_a_socket_is_closed_although_nothing_can_watch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_watch, "_made", [])
    one, other = socket.socketpair()
    with other, no_threads():
        with pytest.raises(QuotaExceededError):
            SocketReady(one, READ).add_waiter(threading.Event())
        close_socket(one)
    assert one.fileno() == -1


def test_the_keychain_is_asked_again_after_its_thread_could_not_be_started() -> None:
    caller = BoundedCaller("keychain")
    with no_threads(), pytest.raises(SecretLockedError, match="no thread left"):
        caller.call(lambda: "never", timeout_s=WAIT_S)
    assert caller.call(lambda: "found", timeout_s=WAIT_S) == "found"


def test_work_aside_is_refused_and_closing_does_not_fail() -> None:
    aside = Aside("questions", threads=1)

    async def main() -> str:
        with no_threads(), pytest.raises(GuestLimitError, match="no thread is left"):
            await aside.run(lambda: "never")
        return await aside.run(lambda: "done")

    assert asyncio.run(main()) == "done"
    aside.close()


def test_a_thread_that_cannot_be_started_is_a_refusal_with_a_rule() -> None:
    with no_threads(), pytest.raises(QuotaExceededError) as refused:
        started_thread(print, name="nobody", rule="net.threads")
    assert refused.value.rule == "net.threads"
