"""The thread that serves descriptors: who gives up, and who comes while it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from astrid_core.kernel import reactor as reactor_module
from astrid_core.kernel.reactor import Reactor


def test_a_job_whose_caller_gave_up_is_not_run_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactor_module, "_CALL_LIMIT_S", 0.01)
    gate = threading.Event()
    done: list[str] = []
    reactor = Reactor("nobody")
    reactor.submit(lambda: gate.wait(20) and None)
    with pytest.raises(TimeoutError):
        reactor.call(lambda: done.append("late"))
    monkeypatch.setattr(reactor_module, "_CALL_LIMIT_S", 20.0)
    gate.set()
    reactor.call(lambda: done.append("next"))
    reactor.stop()
    assert done == ["next"]


def test_nobody_wakes_a_thread_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    waking, stopped = threading.Event(), threading.Event()
    reactor = Reactor("nobody")
    reactor.call(lambda: None)
    wake: Callable[[], None] = reactor._wake
    failed: list[OSError] = []

    def late() -> None:
        if threading.current_thread() is caller:
            waking.set()
            stopped.wait(1)  # whether or not stopping waits for this
        wake()

    def submit() -> None:
        try:
            reactor.submit(lambda: None)
        except OSError as error:
            failed.append(error)

    monkeypatch.setattr(reactor, "_wake", late)
    caller = threading.Thread(target=submit)
    caller.start()
    assert waking.wait(10)
    reactor.stop()
    stopped.set()
    caller.join(10)
    assert failed == []
