"""A `HostApi` that answers from a table and remembers what an engine did with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call
from astrid_hookspecs.values import Principal

Handlers = Mapping[str, Callable[..., object]]
"""Handlers by `interface#function` (`astrid:kv/host@1.0.0#kv-get`)."""


class HostCall(NamedTuple):
    """One call a guest made.

    Attributes:
        function: `interface#function`.
        arguments: As the engine lifted them.
        principal: Of the call the guest was in, or None outside of one.
    """

    function: str
    arguments: tuple[object, ...]
    principal: Principal | None


class RecordingHostInstance:
    """The kernel's side of one instance. Implements `HostInstance`.

    Attributes:
        principal: Whom the instance belongs to.
        purpose: What it was opened for.
        asked: Every handler the engine asked for, known or not.
        entered: The calls that were entered, in order.
        left: How many calls were left.
        closed: Whether the engine closed it.
        misuse: What the engine did against the contract (`left without enter`, ...).
    """

    def __init__(
        self, principal: Principal, purpose: str, *, handlers: Handlers, calls: list[HostCall]
    ) -> None:
        self.principal = principal
        self.purpose = purpose
        self.cancel = CancelToken()
        self.ready = threading.Event()
        self.asked: list[str] = []
        self.entered: list[Call] = []
        self.left = 0
        self.closed = False
        self.misuse: list[str] = []
        self._handlers = handlers
        self._calls = calls

    def handler(self, interface: str, function: str) -> Callable[..., object] | None:
        """The handler in the table, wrapped so that its calls are remembered."""
        name = f"{interface}#{function}"
        self.asked.append(name)
        found = self._handlers.get(name)
        if found is None:
            return None

        def call(*arguments: object) -> object:
            if len(self.entered) == self.left:
                self.misuse.append(f"{name} was called outside of a call")
            current = self.entered[-1].principal if len(self.entered) > self.left else None
            self._calls.append(HostCall(name, arguments, current))
            return found(*arguments)

        return call

    def enter(self, call: Call, *, deadline: float | None) -> None:  # noqa: ARG002 - the contract
        """Remember the call."""
        if self.closed:
            self.misuse.append("entered after close")
        if len(self.entered) != self.left:
            self.misuse.append("entered twice without leaving")
        if call.principal != self.principal:
            self.misuse.append(f"entered for {call.principal}, opened for {self.principal}")
        self.entered.append(call)

    def leave(self) -> None:
        """Remember that the call is over."""
        if len(self.entered) == self.left:
            self.misuse.append("left without a call")
            return
        self.left += 1

    def close(self) -> None:
        """Remember that the instance is gone."""
        if self.closed:
            self.misuse.append("closed twice")
        self.closed = True


class RecordingHostApi:
    """The kernel's side of one capsule. Implements `HostApi`.

    Args:
        handlers: What guests can call; anything else is unknown.

    Attributes:
        instances: Every instance that was opened, in order.
        calls: Every host call of every instance, in order.
    """

    def __init__(self, handlers: Handlers | None = None) -> None:
        self.instances: list[RecordingHostInstance] = []
        self.calls: list[HostCall] = []
        self._handlers = handlers or {}
        self._lock = threading.Lock()

    def open_instance(
        self, principal: Principal, *, purpose: Literal["call", "run", "lifecycle"]
    ) -> RecordingHostInstance:
        """Make an instance and remember it."""
        instance = RecordingHostInstance(
            principal, purpose, handlers=self._handlers, calls=self.calls
        )
        with self._lock:
            self.instances.append(instance)
        return instance

    @property
    def misuse(self) -> list[str]:
        """What the engine did against the contract, over all instances."""
        return [problem for instance in self.instances for problem in instance.misuse]
