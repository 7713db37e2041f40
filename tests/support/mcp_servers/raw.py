"""An MCP server of the standard library alone, with tools that behave and tools that do not.

`python raw.py MODE [FILE]`: `MODE` is what it does wrong from the start, `good` for nothing; `FILE`
holds tool definitions as JSON and is read at every listing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODE = sys.argv[1] if len(sys.argv) > 1 else "good"
FILE = Path(sys.argv[2]) if len(sys.argv) > 2 else None
STATE: dict[str, Any] = {"count": 0}


def schema(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
    }


MARK = "astrid-test-child"


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def text(value: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(value)}]}


def listing() -> list[dict[str, Any]]:
    if FILE is not None and FILE.exists():
        return json.loads(FILE.read_text())
    return TOOLS


def echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return text(arguments.get("text", ""))


def add_one(_arguments: dict[str, Any]) -> dict[str, Any]:
    STATE["count"] += 1
    return text(STATE["count"])


def environment(_arguments: dict[str, Any]) -> dict[str, Any]:
    return text(json.dumps(dict(os.environ)))


def die(_arguments: dict[str, Any]) -> dict[str, Any]:
    os._exit(3)


def hang(_arguments: dict[str, Any]) -> dict[str, Any]:
    time.sleep(600)
    return {}


def garbage(_arguments: dict[str, Any]) -> dict[str, Any]:
    for _ in range(10_000):
        sys.stdout.write("Traceback: this is not JSON\n")
    return text("done")


def huge(_arguments: dict[str, Any]) -> dict[str, Any]:
    return text("x" * 100 * 1024 * 1024)


def flood(_arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"level": "info", "data": "x"}
    while True:
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": params})


def fork(_arguments: dict[str, Any]) -> dict[str, Any]:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    children = [subprocess.Popen([*sleep, MARK]) for _ in range(20)]
    return text(len(children))


def bomb(_arguments: dict[str, Any]) -> dict[str, Any]:
    made = 0
    while made < 5000:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        made += 1
    return text(made)


def image(_arguments: dict[str, Any]) -> dict[str, Any]:
    inside = {"uri": "file:///x", "text": "inside"}
    return {
        "content": [
            {"type": "text", "text": "a picture"},
            {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"},
            {"type": "resource", "resource": inside},
        ]
    }


def structured(_arguments: dict[str, Any]) -> dict[str, Any]:
    return {**text('{"n": 1}'), "structuredContent": {"n": 1}}


def write(arguments: dict[str, Any]) -> dict[str, Any]:
    Path(arguments["text"]).write_text("written")
    return text("written")


def read(arguments: dict[str, Any]) -> dict[str, Any]:
    return text(Path(arguments["text"]).read_text()[:1000])


def network(arguments: dict[str, Any]) -> dict[str, Any]:
    socket.create_connection(("127.0.0.1", int(arguments["text"])), timeout=2).close()
    return text("connected")


def progress(arguments: dict[str, Any]) -> dict[str, Any]:
    for step in (1, 2, 3):
        params = {"progressToken": arguments["token"], "progress": step, "total": 3}
        told = {**params, "message": f"step {step}"}
        send({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})
        time.sleep(0.06)
    return text("done")


def odd_progress(arguments: dict[str, Any]) -> dict[str, Any]:
    """Progress that is no number, out of no number, and with more to say than anybody reads."""
    steps = ((float("nan"), 3, "nan"), (1, float("inf"), "x" * 2_000_000), (3, 3, "end"))
    for step, total, message in steps:
        told = {"progressToken": arguments["token"], "progress": step, "total": total}
        params = {**told, "message": message}
        send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        time.sleep(0.06)
    return text("done")


def log(arguments: dict[str, Any]) -> dict[str, Any]:
    sys.stderr.write(arguments.get("text", "") + "\n")
    sys.stderr.flush()
    return text("logged")


def complain(_arguments: dict[str, Any]) -> dict[str, Any]:
    for number in range(20_000):
        sys.stderr.write(f"complaint {number}\n")
    sys.stderr.flush()
    return text("said")


def grow(arguments: dict[str, Any]) -> dict[str, Any]:
    Path("tools.json").write_text(arguments["text"])
    send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    return text("grown")


def fail(_arguments: dict[str, Any]) -> dict[str, Any]:
    return {**text("it does not work"), "isError": True}


def wait(_arguments: dict[str, Any]) -> dict[str, Any]:
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            Path("cancelled").write_text(line)
            break
        if message.get("method") == "ping":
            send({"jsonrpc": "2.0", "id": message["id"], "result": {}})
    return text("cancelled")


def ask(arguments: dict[str, Any]) -> dict[str, Any]:
    Path("asking").touch()
    while arguments.get("waits") and not Path("go").exists():  # others may call meanwhile
        time.sleep(0.01)
    method, params = json.loads(arguments["text"])
    send({"jsonrpc": "2.0", "id": 900, "method": method, "params": params})
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") == 900:
            return text(json.dumps(message))
    return text("nobody answered")


def astrid_hook_intercept(arguments: dict[str, Any]) -> dict[str, Any]:
    payload = arguments["payload"]
    if payload == "null":
        return text("null")
    if payload == "fail":
        raise ValueError("no")
    return text(json.dumps({"hook": arguments["hook"], "was": payload}))


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    action.__name__: action
    for action in (
        *(echo, add_one, environment, die, hang, garbage, huge, flood, fork, bomb, image),
        *(
            structured,
            write,
            read,
            network,
            progress,
            odd_progress,
            log,
            grow,
            fail,
            wait,
            ask,
            complain,
        ),
    )
}
TOOLS = [
    {"name": name, "description": f"Does {name}.", "inputSchema": schema(text="string")}
    for name in ACTIONS
]


def initialize(_params: dict[str, Any]) -> dict[str, Any]:
    if MODE == "silent":
        time.sleep(600)
    if MODE == "exit":
        sys.exit(4)
    able: dict[str, Any] = {"tools": {"listChanged": True}}
    if MODE == "extras":
        able |= {"resources": {}, "prompts": {}}
    about = {"name": "raw", "version": "1"}
    return {"protocolVersion": "2025-06-18", "capabilities": able, "serverInfo": about}


def list_tools(params: dict[str, Any]) -> dict[str, Any]:
    tools = listing()
    if MODE == "hook":
        hook = {"name": "astrid_hook_intercept", "inputSchema": {"type": "object"}}
        tools = [*tools, hook]
    start = int(params.get("cursor") or 0)
    end = start + 7
    more = {"nextCursor": str(end)} if end < len(tools) else {}
    return {"tools": tools[start:end], **more}


def call_tool(params: dict[str, Any]) -> dict[str, Any]:
    arguments = dict(params.get("arguments") or {})
    arguments["token"] = params.get("_meta", {}).get("progressToken")
    name = params["name"]
    if name == "astrid_hook_intercept":
        return astrid_hook_intercept(arguments)
    return ACTIONS[name](arguments) if name in ACTIONS else text(f"this is {name}")


def list_resources(params: dict[str, Any]) -> dict[str, Any]:
    if params.get("cursor"):
        return {"resources": [{"uri": "memo://two", "name": "two"}]}
    return {"resources": [{"uri": "memo://one", "name": "one"}], "nextCursor": "more"}


def read_resource(params: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"uri": params["uri"], "text": f"content of {params['uri']}"}]}


def get_prompt(params: dict[str, Any]) -> dict[str, Any]:
    who = (params.get("arguments") or {}).get("who", "you")
    return {"messages": [{"role": "user", "content": {"type": "text", "text": f"Hi {who}"}}]}


METHODS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "initialize": initialize,
    "tools/list": list_tools,
    "tools/call": call_tool,
    "resources/list": list_resources,
    "resources/templates/list": lambda _params: {"resourceTemplates": []},
    "resources/read": read_resource,
    "prompts/list": lambda _params: {
        "prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]
    },
    "prompts/get": get_prompt,
    "ping": lambda _params: {},
}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        try:
            result = {"result": METHODS[message["method"]](message.get("params") or {})}
        except Exception as error:  # noqa: BLE001
            result = {"error": {"code": -32000, "message": str(error)}}
        send({"jsonrpc": "2.0", "id": message["id"], **result})


main()
