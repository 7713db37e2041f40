"""An MCP server with the same tool as the benchmark capsules, written as the SDK's guide shows."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("echo")


@server.tool()
def echo(text: str) -> str:
    """Answer with the text."""
    return text


if __name__ == "__main__":
    server.run()
