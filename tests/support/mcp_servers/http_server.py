"""A server of the official SDK over streamable HTTP: `python http_server.py PORT TOKEN`."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

PORT, TOKEN = int(sys.argv[1]), sys.argv[2]
server = MCPServer("web")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def large(size: int) -> str:
    """Answer with much text."""
    return "x" * size


inner: Any = server.streamable_http_app()


async def guarded(scope: Any, receive: Any, send: Any) -> None:
    """Let in who has the token."""
    if scope["type"] == "http":
        given = dict(scope["headers"]).get(b"authorization", b"")
        if given != f"Bearer {TOKEN}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
    await inner(scope, receive, send)


uvicorn.run(guarded, host="127.0.0.1", port=PORT, log_level="error")
