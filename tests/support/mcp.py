"""Capsules with MCP servers, and principals that may call their tools."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from astrid_core import Kernel
from astrid_core.kernel.install.sources import Source
from tests.support.capsules import eventually, install

SERVERS = Path(__file__).with_name("mcp_servers")


def server(
    name: str, script: str = "raw.py", *arguments: str, extra: str = "", command: str = "python3"
) -> str:
    """One `[[mcp_server]]` that runs a script of the capsule."""
    args = json.dumps([*([f"./{script}"] if command == "python3" else []), *arguments])
    return (
        f'[[mcp_server]]\nid = "{name}"\ntype = "stdio"\ncommand = "{command}"\nargs = {args}\n'
        f"{extra}"
    )


def write_servers(
    directory: Path, name: str, *servers: str, capabilities: str = 'host_process = ["python3"]'
) -> Source:
    """A capsule of nothing but servers, with their scripts."""
    directory.mkdir(parents=True, exist_ok=True)
    for script in SERVERS.glob("*.py"):
        shutil.copy(script, directory / script.name)
    body = "".join(servers)
    (directory / "Capsule.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "1.0.0"\n[capabilities]\n{capabilities}\n{body}'
    )
    return Source(directory, "directory")


async def serve(kernel: Kernel, source: Source, *, tool: str) -> None:
    """Install a capsule of servers and wait until it offers a tool."""
    await install(kernel, source)
    await eventually(lambda: any(one.name == tool for one in kernel.tools()), timeout_s=20)


def profile(home: Path, principal: str, **lists: list[str]) -> None:
    """Write the profile of a principal; `grants`, `revokes`, `groups`."""
    lines = [f"{key} = {json.dumps(values)}" for key, values in lists.items()]
    path = home / "etc" / "profiles" / f"{principal}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("enabled = true\n" + "\n".join(lines) + "\n")


def definition(name: str, description: str, **more: object) -> Mapping[str, object]:
    """A tool as a server lists it."""
    return {
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": {}},
        **more,
    }


PYTHON = sys.executable
