"""The other side of several comparisons: an MCP server and client of the official SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mcp import Client, StdioServerParameters

SERVER = Path(__file__).parent / "mcp_echo_server.py"
_REQUEST = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


@asynccontextmanager
async def mcp_client() -> AsyncIterator[Client]:
    """A client connected to a server process over stdio."""
    async with Client(StdioServerParameters(command=sys.executable, args=[str(SERVER)])) as client:
        yield client


@contextmanager
def mcp_server() -> Iterator[int]:
    """A server process that has answered its first request; gives its process id.

    The client's own start-up is left out on purpose: the request is one line of JSON.
    """
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        process.stdin.write(json.dumps(_REQUEST).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        if "result" not in answer:
            raise RuntimeError(f"the server did not start: {answer}")
        yield process.pid
        process.stdin.close()
        process.wait(timeout=10)
