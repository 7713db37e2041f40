"""A guest that calls any function of `astrid:net`, as its payload says.

It runs inside a component. The action names the function; `handle.accept` is a method of the
resource whose number comes first. The answer is JSON: `ok` with the value, or `err` with the case.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports import astrid_net_host_1_0_0 as net
from wit_world.imports.astrid_guest_lifecycle_1_0_0 import CapsuleResult

RESOURCES = (net.TcpListener, net.TcpStream, net.UdpSocket, net.UnixListener)
HANDLES: list[Any] = []


def argument(value: Any) -> Any:
    if isinstance(value, dict) and "how" in value:
        return net.ShutdownHow[value["how"]]
    return value["bytes"].encode() if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    if isinstance(value, RESOURCES):
        HANDLES.append(value)
        return len(HANDLES) - 1
    if isinstance(value, bytes):
        return value.decode()
    if dataclasses.is_dataclass(value):
        fields = [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
        case = type(value).__name__.partition("_")[2].lower()
        return [case, *fields] if case else fields
    return value


def call(action: str, arguments: list[Any]) -> Any:
    if not action.startswith("handle."):
        return getattr(net, action)(*map(argument, arguments))
    handle, *rest = arguments
    name = action.removeprefix("handle.")
    if name == "drop":
        return HANDLES[handle].__exit__(None, None, None)
    if name == "read_stream":
        with HANDLES[handle].read_stream() as stream:
            return stream.blocking_read(*rest)
    if name == "write_stream":
        with HANDLES[handle].write_stream() as stream:
            return stream.blocking_write_and_flush(*map(argument, rest))
    found = getattr(HANDLES[handle], name)(*map(argument, rest))
    if not name.startswith("subscribe"):
        return found
    with found as pollable:
        pollable.block()
        return pollable.ready()


class WitWorld(wit_world.WitWorld):
    def astrid_hook_trigger(self, action: str, payload: bytes) -> CapsuleResult:
        try:
            answer = {"ok": plain(call(action, json.loads(payload)))}
        except Err as error:
            answer = {"err": type(error.value).__name__.removeprefix("ErrorCode_")}
        return CapsuleResult("continue", json.dumps(answer))
