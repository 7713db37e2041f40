"""The commands of the root by name: where they are, and their help lines. Loads none of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple


class LazyCommand(NamedTuple):
    """A command that is imported when it runs.

    Attributes:
        target: `module:attribute`, a `typer.Typer` for a group or a function for one command.
        help: Its line in `astrid --help`.
    """

    target: str
    help: str

    def load(self) -> Any:
        """Import it."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


BUILT_IN: Final[Mapping[str, LazyCommand]] = {
    "demo": LazyCommand(
        "astrid_core.cli.demo:demo", "Show a capsule being built, installed, called and contained"
    ),
    "capsule": LazyCommand(
        "astrid_core.cli.capsule:app", "Create, check, build, install, run and remove capsules"
    ),
    "agent": LazyCommand("astrid_core.cli.agent:app", "Create, change, list and remove agents"),
    "group": LazyCommand("astrid_core.cli.group:app", "Create, change, list and remove groups"),
    "caps": LazyCommand(
        "astrid_core.cli.caps:app", "Show, give, take and explain what a principal may do"
    ),
    "secret": LazyCommand("astrid_core.cli.secret:app", "Set, list, delete and move secrets"),
    "approvals": LazyCommand(
        "astrid_core.cli.approvals:app", "List what capsules ask permission for, and decide"
    ),
    "quota": LazyCommand("astrid_core.cli.quota:app", "Show and set the limits of an agent"),
    "mcp": LazyCommand(
        "astrid_core.cli.mcp.app:app", "Serve tools to MCP clients, and use MCP servers"
    ),
    "call": LazyCommand("astrid_core.cli.call:call", "Call a tool by way of the daemon"),
    "overlay": LazyCommand(
        "astrid_core.cli.overlay:app", "Show, commit or forget what agents changed in the workspace"
    ),
    "audit": LazyCommand(
        "astrid_core.cli.audit:app", "Show what was done and refused, and prove it"
    ),
    "start": LazyCommand("astrid_core.cli.daemon_control:start", "Start the daemon"),
    "stop": LazyCommand("astrid_core.cli.daemon_control:stop", "Stop the daemon"),
    "restart": LazyCommand("astrid_core.cli.daemon_control:restart", "Stop and start the daemon"),
    "status": LazyCommand(
        "astrid_core.cli.daemon_status:status", "Show whether the daemon runs, and what it has"
    ),
    "ps": LazyCommand("astrid_core.cli.daemon_lists:ps", "List the daemon's capsules"),
    "who": LazyCommand("astrid_core.cli.daemon_lists:who", "List the daemon's clients"),
    "logs": LazyCommand("astrid_core.cli.logs:logs", "Show what daemon and capsules have logged"),
    "doctor": LazyCommand(
        "astrid_core.cli.doctor:doctor", "Check that everything is as it has to be"
    ),
    "config": LazyCommand("astrid_core.cli.config:app", "Show, check and change the settings"),
    "abi": LazyCommand("astrid_core.cli.abi:app", "Show what components can import, and check one"),
    "plugins": LazyCommand(
        "astrid_core.cli.plugins:app", "List, inspect, enable and disable plugins"
    ),
    "version": LazyCommand("astrid_core.cli.version:version", "Show version, build and platform"),
    "commands": LazyCommand(
        "astrid_core.cli.leaves:commands", "List every command with its flags and an example"
    ),
}
