"""A client of the daemon: typed requests, tool calls, messages.

Blocking, and used by one thread at a time, because that is what a command line needs and costs the
least to load. Trusted with giving each request its own answer, whatever else arrives in between,
and with keeping a bounded number of messages that nobody has asked for yet.
Spec: kernel-and-security 3.5, 4; cli-and-ux 1, 6.3.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from astrid_core.daemon.client_door import enter
from astrid_core.daemon.client_errors import AnswerTimeoutError, remote_error
from astrid_core.daemon.client_stream import FrameStream
from astrid_core.domain.request_topics import (
    ADMIN_PREFIX,
    ADMIN_RESPONSE_PREFIX,
    REQUEST_PREFIX,
    RESPONSE_PREFIX,
)
from astrid_hookspecs.errors import LocalProtocolError, RemoteProtocolError
from astrid_hookspecs.values import NIL_SOURCE, Principal

CONNECT_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 10.0
MANAGE_TIMEOUT_S: Final = 15.0
"""Spec: kernel-and-security 4."""
MAX_KEPT: Final = 10_000
"""Messages kept for `messages`; the oldest are dropped beyond that, and counted."""


_ANSWERS: Final = (RESPONSE_PREFIX, ADMIN_RESPONSE_PREFIX)


class Answer(NamedTuple):
    """What a request was answered with.

    Attributes:
        status: `Success`, `Status`, `ToolResult`, ...: as the reference names it for the method.
        data: Decoded JSON.
    """

    status: str
    data: Any


class Message(NamedTuple):
    """A message of the bus, or a refusal that belongs to no request.

    Attributes:
        topic: Its topic.
        payload: Decoded JSON.
        source_id: UUID text of who published it.
    """

    topic: str
    payload: Any
    source_id: str


class DaemonClient:
    """A connection to a daemon. Made by `connect`; a context manager.

    Attributes:
        server_version: Of the daemon.
        pid: Its process; None when the system does not tell.
        lost: Messages that were dropped because nobody asked for them.
    """

    def __init__(self, stream: FrameStream, *, server_version: str, pid: int | None) -> None:
        self.server_version = server_version
        self.pid = pid
        self.lost = 0
        self._stream = stream
        self._ids = itertools.count(1)
        self._prefix = os.urandom(6).hex()
        self._waiting: set[str] = set()
        self._answers: dict[str, Mapping[str, Any]] = {}
        self._messages: deque[Message] = deque()

    @classmethod
    def connect(
        cls, home: Path, *, principal: Principal | None = None, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> Self:
        """Connect to the daemon of a home.

        Args:
            home: The runtime home.
            principal: For whom the connection acts; None for the owner's own.
            timeout_s: For connecting and the handshake together.

        Raises:
            NotRunningError, StaleSocketError, SilentDaemonError, RefusedError,
            VersionMismatchError, ForeignSocketError: As `enter`.
        """
        found = enter(home / "run", principal=principal, timeout_s=timeout_s)
        return cls(found.stream, server_version=found.server_version, pid=found.pid)

    def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        hear: Callable[[Message], None] | None = None,
    ) -> Answer:
        """Ask the kernel for something and wait for the answer.

        Args:
            method: `GetStatus`, `CallTool`, ...
            params: Encodable as JSON.
            timeout_s: For sending and the answer together.
            hear: As for `call_tool`.

        Raises:
            RemoteError: The daemon refused or failed.
            LocalProtocolError: It cannot be sent: it is no JSON, or too long.
            AnswerTimeoutError: Nothing came in time; a late answer is dropped.
            ConnectionLostError: The daemon went away.
        """
        deadline = time.monotonic() + timeout_s
        return self._wait(self._send(method, params, deadline), deadline, hear=hear)

    def manage(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_s: float = MANAGE_TIMEOUT_S,
    ) -> Answer:
        """Make a management request: `AgentCreate`, `CapsGrant`, ...

        Raises:
            As `request`.
        """
        deadline = time.monotonic() + timeout_s
        return self._wait(self._send(method, params, deadline, prefix=ADMIN_PREFIX), deadline)

    def send(self, method: str, params: Mapping[str, object] | None = None) -> str:
        """Ask without waiting; several requests may be under way.

        Returns:
            The id to `wait` for.

        Raises:
            AnswerTimeoutError, ConnectionLostError: It could not be sent.
        """
        return self._send(method, params, time.monotonic() + REQUEST_TIMEOUT_S)

    def wait(self, request_id: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Answer:
        """The answer to an earlier `send`; each can be waited for once.

        Raises:
            As `request`.
        """
        return self._wait(request_id, time.monotonic() + timeout_s)

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        only: Sequence[str] = (),
        progress: bool = False,
        hear: Callable[[Message], None] | None = None,
    ) -> Mapping[str, Any]:
        """Call a tool.

        Args:
            name: `capsule.tool`.
            arguments: Encodable as JSON.
            timeout_s: For the tool; None for the limit of the principal, which the daemon keeps.
            only: Patterns of what the caller offers; another tool is refused, on record.
            progress: Whether to hear how far it is, on `tool.v1.execute.<tool>.progress`.
            hear: Called with each message that arrives meanwhile, instead of keeping it; what it
                raises ends the waiting.

        Returns:
            `content` (text), `is_error`, `capsule`, `duration_ms`.

        Raises:
            As `request`.
        """
        params: dict[str, object] = {"name": name, "arguments": arguments}
        if timeout_s is not None:
            params["timeout_s"] = timeout_s
        if only:
            params["only"] = [*only]
        if progress:
            params["progress"] = True
        request_id = self.send("CallTool", params)
        answer = self._wait(request_id, None, hear=hear)
        if answer.status != "ToolResult" or not isinstance(answer.data, dict):
            raise RemoteProtocolError("the daemon's answer is no tool result")
        return answer.data

    def publish(self, topic: str, payload: Mapping[str, object]) -> None:
        """Publish a message; a refusal arrives among the messages, on the error topic.

        Args:
            topic: Valid.
            payload: Tagged by `type`.

        Raises:
            AnswerTimeoutError, ConnectionLostError: It could not be sent.
        """
        self._frame(topic, payload, time.monotonic() + REQUEST_TIMEOUT_S)

    def subscribe(self, pattern: str) -> None:
        """Receive what matches, from now on; read it with `messages`.

        Raises:
            As `request`.
        """
        self.request("Subscribe", {"pattern": pattern})

    def unsubscribe(self, pattern: str) -> None:
        """Receive it no longer; what has arrived can still be read.

        Raises:
            As `request`.
        """
        self.request("Unsubscribe", {"pattern": pattern})

    def messages(self, *, timeout_s: float | None = None) -> Iterator[Message]:
        """Messages as they arrive, in order; ends when none comes for so long.

        Args:
            timeout_s: Longest silence; None waits for ever.

        Raises:
            ConnectionLostError: The daemon went away.
        """
        while True:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            while not self._messages:
                try:
                    self._take(deadline)
                except AnswerTimeoutError:
                    return
            yield self._messages.popleft()

    def close(self) -> None:
        """Leave; calls that are under way are stopped. Harmless when closed."""
        self._stream.close()

    def cut(self) -> None:
        """As `close`, from another thread than the one that waits for an answer."""
        self._stream.cut()

    def is_lost(self) -> bool:
        """Whether the other side has ended the connection, or it was cut; does not wait."""
        return self._stream.is_lost()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(
        self,
        method: str,
        params: Mapping[str, object] | None,
        deadline: float,
        *,
        prefix: str = REQUEST_PREFIX,
    ) -> str:
        request_id = f"{self._prefix}-{next(self._ids)}"
        payload: dict[str, object] = {
            "type": "raw_json",
            "method": method,
            "request_id": request_id,
        }
        if params is not None:
            payload["params"] = params
        self._frame(prefix + method, payload, deadline)
        self._waiting.add(request_id)
        return request_id

    def _frame(self, topic: str, payload: Mapping[str, object], deadline: float) -> None:
        frame = {"topic": topic, "payload": payload, "source_id": NIL_SOURCE}
        try:
            body = json.dumps(frame, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError, RecursionError) as error:  # the daemon would end the line
            raise LocalProtocolError(
                f"this cannot be sent as JSON: {_no_json(error)}",
                code="protocol.not-json",
                hint="send JSON in UTF-8, without NaN and Infinity, nested up to 128 levels",
            ) from error
        self._stream.send(body, deadline=deadline)

    def _wait(
        self,
        request_id: str,
        deadline: float | None,
        *,
        hear: Callable[[Message], None] | None = None,
    ) -> Answer:
        try:
            while request_id not in self._answers:
                self._take(deadline)
                while hear is not None and self._messages:
                    hear(self._messages.popleft())
        finally:
            self._waiting.discard(request_id)
        answer = self._answers.pop(request_id)
        if answer.get("status") == "Error":
            raise remote_error(answer)
        return Answer(str(answer.get("status")), answer.get("data"))

    def _take(self, deadline: float | None) -> None:
        """Receive one frame and put it where it belongs."""
        body = self._stream.receive(deadline=deadline)
        try:
            frame = json.loads(body)
            topic, payload = frame["topic"], frame["payload"]
            source_id = frame["source_id"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise RemoteProtocolError("the daemon sent a frame that is no message") from error
        request_id = payload.get("request_id") if isinstance(payload, dict) else None
        if isinstance(request_id, str) and str(topic).startswith(_ANSWERS):
            if request_id in self._waiting:
                self._answers[request_id] = payload
                return
            if request_id.startswith(self._prefix):
                return  # nobody waits for it any more
        if len(self._messages) >= MAX_KEPT:
            self._messages.popleft()
            self.lost += 1
        self._messages.append(Message(str(topic), payload, str(source_id)))


def _no_json(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half of a surrogate pair"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
