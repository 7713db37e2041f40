"""How common clients are told about `astrid mcp serve`, and how their files are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple


class ClientFile(NamedTuple):
    """Where a client keeps its servers, and in which form.

    Attributes:
        title: Its name.
        path: Where the text goes.
        make: The text for a command line.
    """

    title: str
    path: str
    make: Callable[[str, Sequence[str]], str]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2)


def _mcp_servers(command: str, arguments: Sequence[str]) -> str:
    return _json({"mcpServers": {"astrid": {"command": command, "args": list(arguments)}}})


def _servers(command: str, arguments: Sequence[str]) -> str:
    server = {"type": "stdio", "command": command, "args": list(arguments)}
    return _json({"servers": {"astrid": server}})


def _zed(command: str, arguments: Sequence[str]) -> str:
    server = {"source": "custom", "command": command, "args": list(arguments), "env": {}}
    return _json({"context_servers": {"astrid": server}})


def _codex(command: str, arguments: Sequence[str]) -> str:
    words = ", ".join(json.dumps(word) for word in arguments)
    return f"[mcp_servers.astrid]\ncommand = {json.dumps(command)}\nargs = [{words}]"


def _shell(command: str, arguments: Sequence[str]) -> str:
    return " ".join(["claude", "mcp", "add", "astrid", "--", command, *arguments])


CLIENTS: Final[Mapping[str, ClientFile]] = {
    "claude-code": ClientFile("Claude Code", "run this command", _shell),
    "claude-desktop": ClientFile("Claude Desktop", "claude_desktop_config.json", _mcp_servers),
    "codex": ClientFile("Codex", "~/.codex/config.toml", _codex),
    "cursor": ClientFile("Cursor", "~/.cursor/mcp.json or .cursor/mcp.json", _mcp_servers),
    "gemini": ClientFile("Gemini CLI", "~/.gemini/settings.json", _mcp_servers),
    "vscode": ClientFile("Visual Studio Code", ".vscode/mcp.json", _servers),
    "windsurf": ClientFile("Windsurf", "~/.codeium/windsurf/mcp_config.json", _mcp_servers),
    "zed": ClientFile("Zed", "settings.json", _zed),
}


def own_command() -> str:
    """The program of this installation, by its full path: clients have a path of their own."""
    beside = Path(sys.executable).with_name("astrid")
    return str(beside) if beside.exists() else "astrid"
