"""Runs the gateway: over standard input and output, or over HTTP on loopback with a token.

Trusted with standard output, which belongs to the protocol alone, and with who may talk over HTTP:
whoever has the token, from pages of this machine and no others.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

from astrid_core.cli.context import home_path
from astrid_core.cli.mcp.lines import Lines
from astrid_core.cli.output import current
from astrid_core.cli.signals import end_at_once
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError
from astrid_core.daemon.launch import Launch, start_daemon
from astrid_core.domain.tool_filter import ToolFilter
from astrid_core.domain.topic import TOOLS_TOPIC
from astrid_core.kernel.durable import write_atomic
from astrid_hookspecs.errors import AstridError, ConfigError
from astrid_hookspecs.values import Principal

PATH: Final = "/mcp"
_BEARER: Final = b"Bearer "
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def connector(principal: Principal, workspace: Path) -> Callable[[], DaemonClient]:
    """Makes connections for a principal; without a daemon one is started that does not stay."""
    lock = threading.Lock()

    def connect() -> DaemonClient:
        with lock:
            try:
                return DaemonClient.connect(home_path(), principal=principal)
            except NotRunningError:
                started = start_daemon(home_path(), Launch(workspace, is_ephemeral=True))
                with started.client:
                    return DaemonClient.connect(home_path(), principal=principal)

    return connect


def serve_stdio(connect: Callable[[], DaemonClient], *, only: ToolFilter) -> None:
    """Serve the client on the other side of the pipes, until it closes them.

    Raises:
        DaemonError: The daemon cannot be reached or started.
    """
    from mcp.server.stdio import stdio_server  # noqa: PLC0415 - as below

    async def main() -> None:
        with _gateway(connect, only) as gateway:
            server = gateway.server()
            async with stdio_server() as (reader, writer):
                await server.run(reader, writer, server.create_initialization_options())

    # Reading standard input cannot be interrupted from inside. The daemon stops what runs for a
    # connection that ends, and nothing else has to be put away.
    end_at_once()
    asyncio.run(main())


def serve_http(
    connect: Callable[[], DaemonClient], *, only: ToolFilter, host: str, port: int
) -> None:
    """Serve clients that have the token, until a signal comes.

    Args:
        connect: To the daemon.
        only: What is served of what the principal may call.
        host: A loopback address.
        port: 0 for any.

    Raises:
        ConfigError: `mcp.address`: it is not loopback, or taken.
        DaemonError: The daemon cannot be reached or started.
    """
    import uvicorn  # noqa: PLC0415 - as below

    listener = _bound(host, port)
    address, bound = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    token_file = home_path() / "run" / f"mcp-{bound}.token"
    token = secrets.token_urlsafe(32)

    async def main() -> None:
        with _gateway(connect, only) as gateway, listener:
            write_atomic(token_file, token.encode())
            app = gateway.server().streamable_http_app(streamable_http_path=PATH, host="127.0.0.1")
            server = uvicorn.Server(
                uvicorn.Config(with_token(app, token), log_level="error", access_log=False)
            )
            output = current()
            output.info(f"http://{shown}:{bound}{PATH}")
            output.info(f"the token is in {token_file}")
            await server.serve(sockets=[listener])

    try:
        asyncio.run(main())
    finally:
        token_file.unlink(missing_ok=True)


def with_token(app: App, token: str) -> App:
    """Answer 401 to requests without the token, before anything reads them."""
    wanted = token.encode()

    async def checked(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        given = dict(scope.get("headers") or ()).get(b"authorization", b"")
        is_bearer = given.startswith(_BEARER)
        if is_bearer and hmac.compare_digest(given.removeprefix(_BEARER), wanted):
            await app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"a token is needed\n"})

    return checked


@contextlib.contextmanager
def _gateway(connect: Callable[[], DaemonClient], only: ToolFilter) -> Iterator[Any]:
    """A gateway on the running loop, told when there are other tools."""
    try:
        from astrid_core.cli.mcp.gateway import Gateway  # noqa: PLC0415 - loads the SDK
    except ImportError as error:
        raise ConfigError(
            "the MCP SDK is not installed",
            code="mcp.sdk",
            hint="run: pip install astrid-engine-mcp",
        ) from error

    lines = Lines(connect)
    gateway = Gateway(lines, only=only)
    watched = connect()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with contextlib.suppress(AstridError, OSError, RuntimeError):
            watched.subscribe(TOOLS_TOPIC)
            for _ in watched.messages():
                asyncio.run_coroutine_threadsafe(gateway.tools_changed(), loop)

    watcher = threading.Thread(target=watch, name="astrid-mcp-watch", daemon=True)
    watcher.start()
    try:
        yield gateway
    finally:
        watched.cut()
        watcher.join(1.0)
        lines.close()


def _bound(host: str, port: int) -> socket.socket:
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            f"{host!r} is not this machine's own address",
            code="mcp.address",
            hint="use 127.0.0.1 or ::1; whoever needs it elsewhere puts a proxy with TLS in front",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"port {port} of {host} cannot be used: {error.strerror}", code="mcp.address"
        ) from error
