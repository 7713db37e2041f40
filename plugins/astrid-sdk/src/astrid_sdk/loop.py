"""The run loop: one instance that lives as long as the capsule and serves its own events.

The host does not call a capsule whose `run` is running, so the loop subscribes to every handler
topic of the manifest and calls the same functions that the host would have called. Messages
published since the capsule was loaded are waiting in those subscriptions.

Spec: host-abi 16.7, astrid:ipc@1.0.0 get-interceptor-bindings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from astrid_sdk import dispatch, ipc, poll, sys
from astrid_sdk.declarations import DESCRIBE_ACTION, EXECUTE_PREFIX, Capsule
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import CancelledError, ClosedError, HostError
from astrid_sdk.ipc import Message, Subscription
from astrid_sdk.topics import is_topic, matches_entry

_TURN_S: Final = 0.025
"""How long one of several subscriptions is waited for when a time limit is set."""

_log = logging.getLogger("astrid_sdk")


class RunLoop:
    """What a `@run` function works with.

    Args:
        capsule: Declarations whose handlers the loop serves.

    Raises:
        IpcError: A handler topic can not be subscribed to.
    """

    def __init__(self, capsule: Capsule) -> None:
        self._capsule = capsule
        self._own: list[Subscription] = []
        self._ready = False
        self._served: list[tuple[Subscription, list[ipc.Binding]]] = []
        by_topic: dict[str, list[ipc.Binding]] = {}
        for binding in ipc.bindings():
            by_topic.setdefault(binding.topic, []).append(binding)
        for topic, bindings in by_topic.items():
            self._served.append((ipc.subscribe(topic), bindings))

    def ready(self) -> None:
        """Tell the loader that the capsule listens. `events` does it when you did not."""
        if not self._ready:
            self._ready = True
            sys.signal_ready()

    def subscribe(self, pattern: str) -> Subscription:
        """Receive more: messages that match `pattern` come out of `events`.

        Raises:
            IpcError: As `ipc.subscribe`.
        """
        subscription = ipc.subscribe(pattern)
        self._own.append(subscription)
        return subscription

    def events(self, *, timeout: float | None = None) -> Iterator[Message | None]:
        """Serve handlers and yield what came for your own subscriptions, until the host stops us.

        Args:
            timeout: Yield None every so many seconds, so that a loop can do something regularly.
                Without it the wait is ended by messages alone. With it, several subscriptions
                are waited for in turns of 25 ms.

        Raises:
            ValueError: `timeout` is not positive.
        """
        if timeout is not None and timeout <= 0:
            raise ValueError("timeout must be positive")
        self.ready()
        try:
            if timeout is None:
                yield from self._until(None)
                return
            deadline = sys.monotonic_ns()
            while True:
                deadline += round(timeout * 1e9)
                yield from self._until(deadline)
                yield None
        except (CancelledError, ClosedError):
            return

    def serve(self) -> None:
        """Serve handlers until the host stops the capsule."""
        for _ in self.events():
            pass

    def close(self) -> None:
        """Give every subscription back."""
        for subscription, _ in self._served:
            subscription.close()
        for subscription in self._own:
            subscription.close()
        self._served.clear()
        self._own.clear()

    def _until(self, deadline: int | None) -> Iterator[Message]:
        turn = 0
        while True:
            # One subscription at a time, to its end: its messages share one caller.
            for subscription, bindings in [*self._served, *((item, []) for item in self._own)]:
                yield from self._take(subscription.poll(), bindings)
            sources = [*self._served, *((item, []) for item in self._own)]
            if deadline is None:
                self._wait(sources)
                continue
            left = (deadline - sys.monotonic_ns()) / 1e9
            if left <= 0:
                return
            if not sources:
                sys.sleep(left)
                continue
            subscription, bindings = sources[turn % len(sources)]
            turn += 1
            batch = subscription.recv(left if len(sources) == 1 else min(left, _TURN_S))
            yield from self._take(batch, bindings)
            if not batch.messages:
                sys.sleep(1e-9)  # an empty receive does not say that the host stops us; this does

    def _wait(self, sources: list[tuple[Subscription, list[ipc.Binding]]]) -> None:
        if sources:
            poll.wait_any([subscription.readiness() for subscription, _ in sources])
        else:
            sys.sleep(60.0)

    def _take(self, batch: ipc.Batch, bindings: list[ipc.Binding]) -> Iterator[Message]:
        if batch.lagged:
            _log.warning("%d messages were lost: the capsule is too slow", batch.lagged)
        for message in batch.messages:
            if bindings:
                self._serve(message, bindings)
            else:
                yield message

    def _serve(self, message: Message, bindings: list[ipc.Binding]) -> None:
        for binding in bindings:
            if not matches_entry(message.topic, binding.topic):
                continue  # the subscription reaches deeper than the handler does
            try:
                self._call(message, binding.action)
            except (CancelledError, ClosedError):
                raise
            except HostError as error:
                _log.warning("%s on %s failed: %s", binding.action, message.topic, error)

    def _call(self, message: Message, action: str) -> None:
        if action == DESCRIBE_ACTION:
            self._describe(message)
            return
        if action.startswith(EXECUTE_PREFIX):
            name = action.removeprefix(EXECUTE_PREFIX)
            reason = dispatch.execute_payload(self._capsule, name, message.json())
        else:
            answer = dispatch.trigger(self._capsule, action, message.text.encode())
            reason = answer.data if answer.action == "deny" else None
        if reason is not None:
            _log.warning("%s on %s: %s", action, message.topic, reason)

    def _describe(self, message: Message) -> None:
        request = message.json()
        asked = request.get("correlation_id") if isinstance(request, dict) else None
        answer = dispatch.describe(self._capsule)
        segment = message.source_id
        if isinstance(asked, str):
            answer["correlation_id"] = asked
            if is_topic(asked) and "." not in asked:
                segment = asked
        ipc.publish(f"tool.v1.response.describe.{segment}", to_json_text(answer))
