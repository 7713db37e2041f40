"""An MCP server elsewhere that answers as no real one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from astrid_hookspecs.errors import ServerError
from tests.support.capsules import eventually
from tests.support.mcp import definition, serve, write_servers
from tests.support.web_server import Exchange, WebServer, serving, zipped

Run = Callable[..., Any]
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "hostile", "version": "1"},
}
CLOSES = "Connection: close"
NEWS = {"jsonrpc": "2.0", "method": "notifications/message"}
LOGGED = f"data: {json.dumps({**NEWS, 'params': {'level': 'info', 'data': 'x'}})}\n\n".encode()


def respond(exchange: Exchange) -> None:
    """As any server; what it says of its own accord comes in one piece of a stream."""
    if exchange.seen.method != "POST":
        exchange.answer(LOGGED * 2000, headers=("Content-Type: text/event-stream", CLOSES))
        return
    message = json.loads(exchange.seen.body)
    results: dict[str, Any] = {
        "initialize": HELLO,
        "tools/list": {"tools": [definition("fold", "Answers with little that is much.")]},
        "tools/call": {"content": [{"type": "text", "text": "x" * (64 << 20)}]},
    }
    if "id" not in message:
        exchange.answer(status=202, headers=(CLOSES,))
        return
    result = results[message["method"]]
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    headers = ["Content-Type: application/json", CLOSES]
    if message["method"] == "initialize" and exchange.server.routes.get("/talks"):
        headers.append("Mcp-Session-Id: 1")
    if message["method"] == "tools/call":
        text = zipped(text)
        headers.append("Content-Encoding: gzip")
    exchange.answer(text, headers=tuple(headers))


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving({"/mcp": respond}) as running:
        yield running


@pytest.fixture
def source(tmp_path: Path, server: WebServer) -> Source:
    config = tmp_path / "home" / "etc" / "config.toml"
    config.parent.mkdir(mode=0o700, parents=True)
    config.parent.parent.chmod(0o700)
    config.write_text('[network]\nlocal_egress = ["127.0.0.1:*"]\n')
    url = f"http://127.0.0.1:{server.port}/mcp"
    body = f'[[mcp_server]]\nid = "web"\ntype = "http"\nurl = "{url}"\nenv = []\n'
    return write_servers(tmp_path / "c", "remote", body, capabilities='net = ["127.0.0.1"]')


@pytest.mark.slow
def test_an_answer_that_unpacks_to_more_than_a_message_is_refused(
    run: Run, source: Source, server: WebServer
) -> None:
    async def work(kernel: Kernel) -> None:
        await serve(kernel, source, tool="fold")
        with pytest.raises(ServerError, match="compresses its answers"):
            await kernel.call_tool("fold", {})

    run(work)
    assert {tuple(seen.values("accept-encoding")) for seen in server.seen} == {("identity",)}


def test_a_flood_of_news_in_few_pieces_ends_the_server(
    run: Run, tmp_path: Path, source: Source, server: WebServer
) -> None:
    server.routes["/talks"] = respond

    def logged() -> str:
        logs = (tmp_path / "home" / "home").rglob("*.log")
        return "".join(path.read_text() for path in logs)

    async def work(kernel: Kernel) -> None:
        await serve(kernel, source, tool="fold")
        await eventually(lambda: "more than 500 messages a second" in logged())

    run(work)
