"""A guest that calls any function of `astrid:process`, as its payload says.

It runs inside a component. The action names the function; `handle.kill` is a method of the handle
whose number comes first. The answer is JSON: `ok` with the value, or `err` with the case.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports import astrid_process_host_1_0_0 as process
from wit_world.imports.astrid_guest_lifecycle_1_0_0 import CapsuleResult

HANDLES: list[Any] = []


def request(fields: dict[str, Any]) -> process.SpawnRequest:
    limits = fields.get("limits")
    return process.SpawnRequest(
        cmd=fields["argv"][0],
        args=fields["argv"][1:],
        stdin=None if fields.get("stdin") is None else fields["stdin"].encode(),
        env=[process.EnvVar(key, value) for key, value in fields.get("env", {}).items()],
        cwd=fields.get("cwd"),
        limits=None if limits is None else process.ResourceLimits(*limits),
        file_injections=[
            process.FileInjection(text.encode(), process.InjectionPlacement_EnvPointer(name))
            for name, text in fields.get("files", {}).items()
        ],
        label=fields.get("label"),
        keep_stdin_open=fields.get("keep"),
        overflow=process.OverflowPolicy.DROP_OLDEST,
        log_ring_bytes=fields.get("ring"),
        max_lifetime_ms=None,
        idle_timeout_ms=None,
        exit_retention_ms=None,
    )


def argument(value: Any) -> Any:
    if isinstance(value, dict) and "argv" in value:
        return request(value)
    if isinstance(value, dict) and "signal" in value:
        return process.ProcessSignal[value["signal"]]
    if isinstance(value, dict) and "stream" in value:
        return process.LogStream[value["stream"]]
    if isinstance(value, dict) and "cursor" in value:
        return process.LogCursor(value["cursor"])
    return value["bytes"].encode() if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    if isinstance(value, process.ProcessHandle):
        HANDLES.append(value)
        return len(HANDLES) - 1
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {name.name: plain(getattr(value, name.name)) for name in dataclasses.fields(value)}
    return value


def call(action: str, arguments: Any) -> Any:
    if action.startswith("handle."):
        handle, *rest = arguments
        name = action.removeprefix("handle.")
        if name == "drop":
            return HANDLES[handle].__exit__(None, None, None)
        found = getattr(HANDLES[handle], name)(*map(argument, rest))
        if not name.startswith("subscribe"):
            return found
        with found as pollable:
            pollable.block()
            return pollable.ready()
    if action == "keep_watched":
        suffix, wanted = arguments
        kept = process.spawn_persistent(request(wanted))
        process.watch(kept, suffix)
        return kept
    if action == "on_output":  # with an event about a process
        return process.stop(arguments["id"], None)
    return getattr(process, action)(*map(argument, arguments))


class WitWorld(wit_world.WitWorld):
    def astrid_hook_trigger(self, action: str, payload: bytes) -> CapsuleResult:
        try:
            answer = {"ok": plain(call(action, json.loads(payload)))}
        except Err as error:
            answer = {"err": type(error.value).__name__.removeprefix("ErrorCode_")}
        return CapsuleResult("continue", json.dumps(answer))
