"""One call of a client: a thread waits for the daemon, the event loop for the client.

A question that comes meanwhile is asked through the client at once where that is possible. Where
the client has to come back for it, the call stays as it is, on its thread, until it does.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Protocol

import mcp_types as types
from mcp.server.context import ServerRequestContext

from astrid_core.cli.attending import TOPICS, Reply
from astrid_core.cli.mcp.lines import Lines
from astrid_core.cli.mcp.people import approval_form, approval_reply, value_form, value_reply
from astrid_core.cli.mcp.progress import Progress
from astrid_core.daemon.client import DaemonClient, Message
from astrid_core.daemon.client_errors import ConnectionLostError
from astrid_core.domain.approval import LATER
from astrid_core.domain.tool_filter import ToolFilter
from astrid_core.domain.topic import APPROVAL_TOPIC, TOOL_PREFIX
from astrid_hookspecs.errors import AstridError, LocalProtocolError

PATIENCE_S: Final = 120.0
"""How long a call waits for a client's answer, and for it to come back with one."""
Context = ServerRequestContext[Any, Any]
Outcome = Mapping[str, Any] | AstridError


class Desk(Protocol):
    """What a call needs of its gateway."""

    @property
    def lines(self) -> Lines:
        """Connections to the daemon."""
        ...

    @property
    def only(self) -> ToolFilter:
        """Which tools may be called."""
        ...

    def claim(self, request_id: str) -> bool:
        """Whether a question is this call's to ask; each is asked once, whoever hears it."""
        ...

    def release(self, request_id: str) -> None:
        """A question was left undecided: it waits in the queue, and may come again."""
        ...


class Call:
    """A call under way.

    Args:
        desk: Of the gateway.
        target: For the daemon: `capsule.tool`.
        arguments: By name.
        context: Of the request that began it.

    Attributes:
        token: Names it to a client that has to come back.
        questions: Those that the client has to come back for, by request id.
        sent: Those of them that it knows of.
    """

    def __init__(
        self, desk: Desk, target: str, arguments: Mapping[str, Any], context: Context
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.questions: dict[str, Mapping[str, Any]] = {}
        self.sent: tuple[str, ...] = ()
        self._desk = desk
        self._target = target
        self._arguments = arguments
        self._context = context
        self._is_watched = (context.meta or {}).get("progress_token") is not None
        self._progress = Progress()
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._finished: asyncio.Future[Outcome] = self._loop.create_future()
        self._lock = threading.Lock()
        self._client: DaemonClient | None = None
        self._asking: Future[Any] | None = None
        self._is_over = False
        self._patience: asyncio.TimerHandle | None = None
        threading.Thread(target=self._work, name=f"astrid-mcp {target}", daemon=True).start()

    async def proceed(self, context: Context) -> Outcome | None:
        """Wait for the outcome; None when the client has to come back with answers first.

        Cancelling stops the guest.
        """
        self._context = context
        if self._patience is not None:
            self._patience.cancel()
        self._asked.clear()
        if self.questions:  # one came while the answer to the last was on its way
            self._asked.set()
        asked = asyncio.ensure_future(self._asked.wait())
        waits: list[asyncio.Future[Any]] = [asked]
        if self._is_watched:
            waits.append(asyncio.ensure_future(self._progress.report(context.session)))
        is_parked = False
        try:
            either: set[asyncio.Future[Any]] = {self._finished, asked}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._finished.done():
                return self._finished.result()
            is_parked = True
            self._patience = self._loop.call_later(PATIENCE_S, self.stop)
            return None
        finally:
            for wait in waits:
                wait.cancel()
            if not is_parked:
                self.stop()

    def stop(self) -> None:
        """Stop the guest, if it still runs."""
        for request_id in tuple(self.questions):
            self._desk.release(request_id)
        with self._lock:
            self._is_over = True
            if self._asking is not None:
                self._asking.cancel()
            if self._client is not None:
                self._client.cut()

    def settle(self, reply: Reply) -> None:
        """Take note of what is said to a question, before it is said."""
        if reply.payload.get("decision") == LATER:
            self._desk.release(str(reply.payload["request_id"]))

    # Below: on the thread of the call.

    def _work(self) -> None:
        try:
            outcome: Outcome = self._ask()
        except AstridError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it
            outcome = LocalProtocolError(f"the call failed: {type(error).__name__}")
        self._tell(partial(self._settle, outcome))

    def _settle(self, outcome: Outcome) -> None:
        if not self._finished.done():
            self._finished.set_result(outcome)

    def _tell(self, news: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(news)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return

    def _ask(self) -> Mapping[str, Any]:
        client = self._desk.lines.take()
        with self._lock:
            self._client = client
            is_over = self._is_over
        if is_over:
            client.close()
            raise ConnectionLostError("the client gave the call up")
        try:
            hear = partial(self._hear, client)
            answer = client.call_tool(
                self._target,
                self._arguments,
                only=self._desk.only.texts,
                progress=self._is_watched,
                hear=hear,
            )
        except (ConnectionLostError, OSError):
            client.close()
            raise
        except AstridError:
            self._done(client)
            raise
        self._done(client)
        return answer

    def _done(self, client: DaemonClient) -> None:
        with self._lock:
            self._client = None
            is_cut = self._is_over  # just as the answer came
        if is_cut:
            client.close()
        else:
            self._desk.lines.give_back(client)

    def _hear(self, client: DaemonClient, message: Message) -> None:
        """A question that came while the call runs, or how far it is."""
        asked = message.payload
        if message.topic.startswith(TOOL_PREFIX):
            self._tell(partial(self._progress.step, asked))
            return
        if message.topic not in TOPICS or not isinstance(asked, dict):
            return
        if not self._desk.claim(str(asked["request_id"])):
            return
        is_approval = message.topic == APPROVAL_TOPIC
        reply = self._decided(asked) if is_approval else self._given(asked)
        if reply is not None:
            self.settle(reply)
            client.publish(reply.topic, reply.payload)

    def _decided(self, asked: Mapping[str, Any]) -> Reply | None:
        request_id = str(asked["request_id"])
        if not self._can_ask():
            return approval_reply(request_id, "cancel", None)
        if self._context.session.can_send_request:
            return approval_reply(request_id, *self._elicited(*approval_form(asked)))
        self.questions[request_id] = asked
        self._tell(self._asked.set)
        return None

    def _given(self, asked: Mapping[str, Any]) -> Reply | None:
        form = value_form(asked)
        if form is None or not self._can_ask():
            return value_reply(asked, "cancel", None)
        if self._context.session.can_send_request:
            return value_reply(asked, *self._elicited(*form))
        self.questions[str(asked["request_id"])] = asked
        self._tell(self._asked.set)
        return None

    def _elicited(self, text: str, schema: dict[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
        context = self._context
        asking = asyncio.run_coroutine_threadsafe(
            context.session.elicit_form(text, schema, context.request_id), self._loop
        )
        with self._lock:
            self._asking = asking
            if self._is_over:
                asking.cancel()
        try:
            result = asking.result(PATIENCE_S)
        except Exception:  # noqa: BLE001 - a client that fails to ask has not answered
            asking.cancel()
            return "cancel", None
        return result.action, result.content

    def _can_ask(self) -> bool:
        declared = self._context.session.client_capabilities
        return declared is not None and declared.elicitation is not None


def input_required(call: Call) -> types.InputRequiredResult:
    """What makes a client ask its person and come back."""
    requests: dict[str, Any] = {}
    call.sent = tuple(call.questions)
    for request_id in call.sent:
        asked = call.questions[request_id]
        form = value_form(asked) if "field" in asked else approval_form(asked)
        if form is not None:
            params = types.ElicitRequestFormParams(message=form[0], requested_schema=form[1])
            requests[request_id] = types.ElicitRequest(params=params)
    return types.InputRequiredResult(input_requests=requests, request_state=call.token)


def replies(call: Call, answers: Mapping[str, Any]) -> list[Reply]:
    """What a client that came back says to the questions it was sent; they are settled by it."""
    found = []
    for request_id in call.sent:
        asked = call.questions.pop(request_id)
        response = answers.get(request_id)
        action = str(getattr(response, "action", "cancel"))
        content = getattr(response, "content", None)
        if "field" in asked:
            found.append(value_reply(asked, action, content))
        else:
            found.append(approval_reply(request_id, action, content))
    call.sent = ()
    return found
