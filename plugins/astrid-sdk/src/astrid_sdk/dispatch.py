"""From an action name to the author's function and back.

Whatever a handler does, the host gets an answer: errors of tools become error results, errors of
other handlers become a denial with their text. Details of an unexpected exception go to the
capsule's own log, never into an answer.

Spec: capsules-and-bus 8.1, 8.2, 8.4.
"""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple

from astrid_sdk import ipc
from astrid_sdk.declarations import (
    COMMAND_ACTION,
    DESCRIBE_ACTION,
    EXECUTE_PREFIX,
    Capsule,
    Command,
    Tool,
)
from astrid_sdk.docstrings import parse_docstring
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import ArgumentError, AstridSdkError, HostError, IpcError, ToolError
from astrid_sdk.results import Continue, Deny
from astrid_sdk.results import Final as FinalAnswer

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""What the bus carries in one message."""

_log = logging.getLogger("astrid_sdk")


class HookResult(NamedTuple):
    """The `capsule-result` record. Spec: astrid:guest@1.0.0."""

    action: str
    data: str | None = None


class ToolResult(NamedTuple):
    """Outcome of a tool call."""

    content: str
    is_error: bool


def trigger(capsule: Capsule, action: str, payload: bytes) -> HookResult:
    """Answer one call of `astrid-hook-trigger`. Never raises."""
    try:
        if action == DESCRIBE_ACTION:
            return HookResult("continue", to_json_text(describe(capsule)))
        if action.startswith(EXECUTE_PREFIX):
            return _execute(capsule, action.removeprefix(EXECUTE_PREFIX), payload)
        return _handle(capsule, action, payload)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an escaped exception would trap
        return HookResult("deny", explain(error))


def _handle(capsule: Capsule, action: str, payload: bytes) -> HookResult:
    if (found := capsule.interceptors.get(action)) is not None:
        return _answer(found.handler, _json(payload), takes=found.takes_payload)
    if (named := capsule.commands.get(action)) is not None:
        return _answer(named.handler, _json(payload), takes=named.takes_text)
    if action == COMMAND_ACTION and capsule.commands:
        return _route_command(capsule, _json(payload))
    return HookResult("deny", f"unknown hook action: {action}")


def describe(capsule: Capsule) -> dict[str, object]:
    """The answer to `tool_describe`: tools in the order of declaration."""
    tools = [tool.descriptor for tool in capsule.tools.values()]
    return {"tools": tools, "description": capsule.description}


def describe_module(module: ModuleType) -> str:
    """What a capsule says about itself: the first paragraph of its module docstring."""
    return parse_docstring(module.__doc__).summary


def call_tool(tool: Tool, arguments: object) -> ToolResult:
    """Check the arguments, run the tool, keep its state. Never raises."""
    try:
        checked = tool.shape.convert(_arguments(arguments), "")
        if tool.state is None:
            return ToolResult(_text(tool.handler(**checked)), is_error=False)
        from astrid_sdk import state  # noqa: PLC0415 - it makes a capsule import the store

        value = state.load_slot(tool.state)
        content = _text(tool.handler(**{tool.state.parameter: value}, **checked))
        state.store(value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the caller gets an error result
        return ToolResult(explain(error), is_error=True)
    return ToolResult(content, is_error=False)


def explain(error: BaseException) -> str:
    """What an outsider may read about an exception; the rest is logged."""
    if isinstance(error, HostError | ArgumentError | ToolError):
        return str(error)
    _log.error("unhandled %s", type(error).__name__, exc_info=error)
    text = str(error)
    if isinstance(error, AstridSdkError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def publish_result(name: str, call_id: str, result: ToolResult) -> None:
    """Answer a tool call on the bus.

    Raises:
        IpcError: The answer could not be published.
    """
    topic = f"tool.v1.execute.{name}.result"
    data = _result_text(call_id, result).encode(errors="replace")  # lone surrogates become "?"
    if len(data) > MAX_PAYLOAD_BYTES:
        short = f"the result has {len(data)} bytes, a message carries at most {MAX_PAYLOAD_BYTES}"
        data = _result_text(call_id, ToolResult(short, is_error=True)).encode(errors="replace")
    ipc.publish(topic, data.decode())


def execute_payload(capsule: Capsule, name: str, request: Any) -> str | None:
    """Serve one execute request, answer included; the reason when it can not be served.

    Raises:
        IpcError: The answer could not be published.
    """
    tool = capsule.tools.get(name)
    if tool is None:
        return f"unknown tool: {name}"
    if not isinstance(request, dict):
        return f"the payload for tool {name} is not an object"
    call_id = request.get("call_id") or ""
    if not isinstance(call_id, str):
        return f"the payload for tool {name} has a call_id that is not text"
    publish_result(name, call_id, call_tool(tool, request.get("arguments")))
    return None


def _execute(capsule: Capsule, name: str, payload: bytes) -> HookResult:
    try:
        reason = execute_payload(capsule, name, _json(payload))
    except IpcError as error:
        return HookResult("deny", f"the result of {name} could not be published: {error}")
    return HookResult("continue") if reason is None else HookResult("deny", reason)


def _arguments(arguments: object) -> object:
    if arguments is None:
        return {}
    if isinstance(arguments, str):  # interface records carry arguments as JSON text
        try:
            return json.loads(arguments)
        except ValueError as error:
            raise ArgumentError(
                "arguments", expected="an object", found="text that is not JSON"
            ) from error
    return arguments


def _answer(handler: Callable[..., Any], value: object, *, takes: bool) -> HookResult:
    found = handler(value) if takes else handler()
    if isinstance(found, Deny):
        return HookResult("deny", found.reason)
    if isinstance(found, FinalAnswer):
        return HookResult("final", _optional_text(found.data))
    return HookResult(
        "continue", _optional_text(found.data if isinstance(found, Continue) else found)
    )


def _route_command(capsule: Capsule, payload: Any) -> HookResult:
    line = payload.get("text") if isinstance(payload, dict) else None
    if not isinstance(line, str) or not line.strip():
        return HookResult("continue")
    name, _, rest = line.strip().partition(" ")
    found: Command | None = capsule.commands.get(name)
    if found is None:  # somebody else's command
        return HookResult("continue")
    answer = _answer(found.handler, rest.strip(), takes=found.takes_text)
    return answer._replace(action="final") if answer.action == "continue" else answer


def _json(payload: bytes) -> Any:
    if not payload:
        return None
    try:
        return json.loads(payload)
    except ValueError as error:
        raise ToolError("the payload is not JSON") from error


def _text(value: object) -> str:
    """Text as it is, anything else as JSON."""
    if isinstance(value, enum.Enum):
        value = value.value
    return value if isinstance(value, str) else to_json_text(value)


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _result_text(call_id: str, result: ToolResult) -> str:
    inner = {"call_id": call_id, "content": result.content, "is_error": result.is_error}
    return to_json_text({"type": "tool_execute_result", "call_id": call_id, "result": inner})
