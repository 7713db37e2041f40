"""Calls that may hang, with a time limit: a dead keychain must not stop a kernel.

One thread makes all calls, in order. When a call has not come back in time its caller is told so,
and until it comes back every other call fails at once: no second thread is spent on it. What was
given up before its turn is not done later.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from astrid_hookspecs.errors import SecretLockedError

T = TypeVar("T")


class _Call:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_given_up = False


class BoundedCaller:
    """Makes calls on a thread of its own.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stuck: _Call | None = None

    def call(self, work: Callable[[], T], *, timeout_s: float) -> T:
        """Make a call and wait for it.

        Raises:
            SecretLockedError: `secret.timeout`: it has not come back, or one before it has not.
                `secret.locked`: the system has no thread left for it.
        """
        call = _Call(work)
        with self._lock:
            if self._stuck is not None and not self._stuck.done.is_set():
                raise _timeout()
            self._stuck = None
            if self._thread is None:
                self._thread = self._started()
            self._calls.put(call)
        if not call.done.wait(timeout_s):
            with self._lock:
                if not call.done.is_set():
                    call.is_given_up = True
                    self._stuck = call
                    raise _timeout()
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise SecretLockedError(
                "the keychain cannot be asked: the system has no thread left",
                hint="try again later",
            ) from error
        return thread

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            with self._lock:
                is_wanted = not call.is_given_up
            if is_wanted:
                try:
                    call.result = call.work()
                except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                    call.error = error
            call.done.set()


def _timeout() -> SecretLockedError:
    return SecretLockedError(
        "the keychain does not answer",
        code="secret.timeout",
        hint="unlock it, or choose another store: secrets.backend in etc/config.toml",
    )
