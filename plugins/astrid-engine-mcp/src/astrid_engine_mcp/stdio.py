"""A confined process, spoken to over its standard streams, within bounds.

Trusted with what a server can do to the kernel through a pipe: a message has a largest size, what
is no message is counted and logged, a flood ends the process, and so does the end of the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.client._transport import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

from astrid_engine_mcp import bounds
from astrid_hookspecs.errors import ServerError
from astrid_hookspecs.sandboxes import SandboxedCommand

Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]
Log = Callable[[str, str], None]
"""Takes a level and a line."""
_CHUNK: Final = 65536
_REAP_S: Final = 5.0
_POLL_S: Final = 0.01


class Ended:
    """Why a connection is over; the first reason stays.

    Attributes:
        process: Behind the connection, once it was started; None where there is none.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.process: asyncio.subprocess.Process | None = None
        self.event = asyncio.Event()

    def set(self, reason: str) -> None:
        """Tell that it is over."""
        self.reason = self.reason or reason
        self.event.set()


@asynccontextmanager
async def stdio_streams(
    command: SandboxedCommand, *, ended: Ended, log: Log
) -> AsyncIterator[Streams]:
    """Start a process and give the streams that the SDK's session runs on.

    Args:
        command: From the sandbox.
        ended: Told when the process ends or is to end.
        log: Gets what the process writes besides messages.

    Raises:
        ServerError: `engine.server.start`: it cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=bounds.MESSAGE_BYTES,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ServerError(
            f"the server's process cannot be started: {type(error).__name__}",
            code="engine.server.start",
        ) from error
    ended.process = process
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    flow = bounds.Flow()
    work = [
        asyncio.create_task(_read(process, to_session, flow=flow, ended=ended, log=log)),
        asyncio.create_task(_write(process, from_session, flow=flow, ended=ended)),
        asyncio.create_task(_read_log(process, log=log)),
    ]
    try:
        yield from_server, to_server
    finally:
        from_server.close()
        to_server.close()
        await asyncio.shield(_stop(process, work))
        to_session.close()
        from_session.close()


async def _read(
    process: asyncio.subprocess.Process,
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
    *,
    flow: bounds.Flow,
    ended: Ended,
    log: Log,
) -> None:
    """Pass messages on until the process ends or must."""
    reader = process.stdout
    if reader is None:
        return
    try:
        while True:
            line = await reader.readuntil(b"\n")
            message = _parsed(line)
            fault = flow.fault(size_bytes=len(line), is_garbage=message is None)
            if fault is not None:
                ended.set(fault)
                return
            if message is not None:
                await to_session.send(SessionMessage(message))
            elif line.strip():
                log(
                    "WARN",
                    "not a message: " + line[: bounds.LOG_LINE_BYTES].decode("utf-8", "replace"),
                )
    except asyncio.LimitOverrunError:
        ended.set(f"it sent a message of more than {bounds.MESSAGE_BYTES // bounds.MIB} MiB")
    except asyncio.IncompleteReadError:
        ended.set(await _how_it_ended(process))
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        ended.set("it was stopped")
    finally:
        await to_session.aclose()


async def _write(
    process: asyncio.subprocess.Process,
    from_session: MemoryObjectReceiveStream[SessionMessage],
    *,
    flow: bounds.Flow,
    ended: Ended,
) -> None:
    writer = process.stdin
    if writer is None:
        return
    try:
        async for sent in from_session:
            text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
            if isinstance(sent.message, types.JSONRPCRequest):
                flow.asked()
            writer.write(text.encode() + b"\n")
            await writer.drain()
    except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        ended.set("it does not read any more")


async def _read_log(process: asyncio.subprocess.Process, *, log: Log) -> None:
    """Log what comes on standard error; who writes too much waits, as for any pipe."""
    reader = process.stderr
    if reader is None:
        return
    rest, count, since = b"", 0, time.monotonic()
    while chunk := await reader.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > bounds.LOG_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        room = max(0, bounds.LOG_LINES_PER_S - count)
        for line in lines[:room]:
            log("INFO", line[: bounds.LOG_LINE_BYTES].decode("utf-8", "replace"))
        count += len(lines)
        if count > bounds.LOG_LINES_PER_S:
            log("WARN", f"{len(lines[room:])} lines were left out")
            await asyncio.sleep(max(0.0, since + 1.0 - time.monotonic()))
        if time.monotonic() - since >= 1.0:
            count, since = 0, time.monotonic()
    if rest:
        log("INFO", rest[: bounds.LOG_LINE_BYTES].decode("utf-8", "replace"))


def _parsed(line: bytes) -> types.JSONRPCMessage | None:
    """The message of a line; None for anything else."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None


async def _how_it_ended(process: asyncio.subprocess.Process) -> str:
    if await _is_dead(process, within_s=bounds.STOP_S):
        return f"its process ended with status {process.returncode}"
    return "it closed its output"


async def _stop(process: asyncio.subprocess.Process, work: list[asyncio.Task[None]]) -> None:
    """End the process: its input first, then all of it by force, then what serves its pipes."""
    if process.stdin is not None:
        process.stdin.close()
    if not await _is_dead(process, within_s=bounds.STOP_S):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await _is_dead(process, within_s=_REAP_S)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    transport = getattr(process, "_transport", None)
    if transport is not None:  # a descendant may hold a pipe; nothing public closes our end of it
        transport.close()
        await asyncio.sleep(0)  # lets the pipes close before anybody can end the loop


async def _is_dead(process: asyncio.subprocess.Process, *, within_s: float) -> bool:
    """Whether the process ends in time. Its `wait` would wait for the end of its pipes as well."""
    end = time.monotonic() + within_s
    while process.returncode is None:
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(_POLL_S)
    return True
