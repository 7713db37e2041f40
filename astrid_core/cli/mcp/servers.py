"""`astrid mcp add`, `list`, `inspect`, `remove`, `import`: the servers of `etc/servers.toml`.

Trusted with the operator's file: comments stay, what would not be understood is not written, and a
value that came from another client's file goes to the secret store, never into ours.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import tomlkit
import typer
from tomlkit.items import Table

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.management import confirm, manage
from astrid_core.cli.output import current, describe
from astrid_core.config.document import read_bounded
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError
from astrid_core.domain.server_config import FILE_NAME, parse_servers
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_hookspecs.errors import ConfigError

_HEADERS: Final = ("NAME", "TRANSPORT", "SERVER", "STATE", "TOOLS")
_MAX_BYTES: Final = 1024 * 1024

NameArgument = Annotated[str, typer.Argument(help="Name of the server.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", help="KEY=VALUE for the server; repeatable.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", help="A key whose value is in 'astrid secret'; repeatable."),
]


@describe(example="astrid mcp add clock -- mcp-server-time --local-timezone Europe/Berlin")
def add(
    name: NameArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="URL | -- COMMAND...", help="What to use or start.")
    ],
    *,
    env: EnvOption = None,
    secret: SecretOption = None,
    network: Annotated[
        bool, typer.Option("--network", help="Let the program use the network.")
    ] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="One process for all agents: it keeps no state.")
    ] = False,
    elicitation: Annotated[
        bool, typer.Option("--elicitation", help="Let it ask people questions.")
    ] = False,
    sampling: Annotated[
        bool, typer.Option("--sampling", help="Let it ask a model, where a person agrees.")
    ] = False,
) -> None:
    """Add a server. It runs in a sandbox; who may call its tools is given with 'astrid caps'."""
    entry = _entry(command, env=_pairs(env or ()), secrets=secret or (), network=network)
    flags = {"shared": shared, "allow_elicitation": elicitation, "allow_sampling": sampling}
    entry |= {key: True for key, is_set in flags.items() if is_set}
    _change({name: entry})
    output = current()
    output.success(f"server {name} is in etc/{FILE_NAME}")
    if "command" in entry and shutil.which(entry["command"]) is None:
        output.warning(f"there is no program {entry['command']!r} here yet; install it")
    output.detail(f"let an agent use it: astrid caps grant AGENT 'mcp:{name}:*'")
    output.result({"name": name, "reloaded": _reload()}, text="")


@describe(example="astrid mcp list")
def list_() -> None:
    """List the configured servers, and how they are doing in the running daemon."""
    state = _running()
    rows = [
        {
            "name": manifest.name,
            "transport": server.type,
            "server": server.url or " ".join([server.command or "", *server.args]),
            **state.get(manifest.name, {"state": "-", "tools": None}),
        }
        for manifest in parse_servers(_text(), path=f"etc/{FILE_NAME}")
        for server in manifest.mcp_servers
    ]
    output = current()
    if not rows:
        output.info("there are no servers; add one: astrid mcp add NAME -- COMMAND")
    cells = [tuple("-" if v is None else v for v in row.values()) for row in rows]
    output.result(rows, text=lambda: output.table(_HEADERS, cells))


@describe(example="astrid mcp inspect clock")
def inspect(name: NameArgument) -> None:
    """Show a server, its tools as the acting agent sees them, and what waits for approval."""
    from astrid_core.cli.mcp.pins import known_pins  # noqa: PLC0415 - only here

    entry = _document().get("servers", {}).get(name)
    if entry is None:
        raise _unknown(name)
    tools, pins = [], []
    try:
        with DaemonClient.connect(home_path(), principal=acting()) as client:
            rows: list[Mapping[str, Any]] = client.request("ListTools").data
        tools = [row for row in rows if row["capsule"] == name]
        pins = [row for row in known_pins() if row["capsule"] == name and row["proposed"]]
    except NotRunningError:
        current().info("no daemon runs: its tools are not known")
    value = {"name": name, **entry.unwrap(), "tools": tools, "waiting": pins}
    current().result(value, text=json.dumps(value, indent=2, ensure_ascii=False))


@describe(example="astrid mcp remove clock")
def remove(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a server from the file. What it wrote stays."""
    if name not in _document().get("servers", {}):
        raise _unknown(name)
    confirm(f"Remove server {name}", yes=yes)
    _change({name: None})
    output = current()
    output.success(f"server {name} is removed")
    output.result({"name": name, "reloaded": _reload()}, text="")


@describe(example="astrid mcp import ~/.cursor/mcp.json")
def import_(
    file: Annotated[Path, typer.Argument(help="A client's file: its servers, as JSON.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace those of the same name.")
    ] = False,
) -> None:
    """Take over the servers of another client. Values of its variables become secrets."""
    found = _client_servers(file)
    known = set(_document().get("servers", {}))
    skipped = sorted(known & set(found)) if not replace else []
    wanted = {name: given for name, given in found.items() if name not in skipped}
    entries = {}
    for name, given in wanted.items():
        words = [given["url"]] if "url" in given else [given["command"], *given.get("args", [])]
        entries[name] = _entry(words, env={}, secrets=sorted(given.get("env", {})), network=False)
    _change(entries)
    for name, given in wanted.items():
        for key, text in given.get("env", {}).items():
            if text:
                who = acting()
                manage("SecretSet", principal=who, capsule=name, key=key, value=str(text))
    output = current()
    output.success(f"{len(entries)} servers are in etc/{FILE_NAME}")
    for name in skipped:
        output.warning(f"{name} is there already; --replace takes the file's")
    output.result({"added": sorted(entries), "skipped": skipped, "reloaded": _reload()}, text="")


@describe(example="""astrid mcp call clock get_current_time '{"timezone": "UTC"}'""")
def call(
    server: NameArgument,
    tool: Annotated[str, typer.Argument(help="Name of the tool.")],
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="A JSON object.")] = "{}",
) -> int:
    """Call a tool of a server, as the acting agent."""
    from astrid_core.cli.fast_call import call_tool  # noqa: PLC0415 - starts a daemon

    return call_tool(f"{server}.{tool}", arguments, principal=acting())


def _entry(
    words: Sequence[str], *, env: Mapping[str, str], secrets: Sequence[str], network: bool
) -> dict[str, Any]:
    is_url = len(words) == 1 and words[0].startswith(("http://", "https://"))
    entry: dict[str, Any] = (
        {"transport": "http", "url": words[0]}
        if is_url
        else {"transport": "stdio", "command": words[0], "args": list(words[1:])}
    )
    if env:
        entry["env"] = dict(env)
    if secrets:
        entry["secrets"] = list(secrets)
    if network:
        entry["allow_network"] = True
    return entry


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{key[:80]!r} is no KEY=VALUE", code="mcp.env")
        found[key] = value
    return found


def _client_servers(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The servers of a client's file, by names that servers can have here."""
    try:
        data = file.expanduser().read_bytes()[: _MAX_BYTES + 1]
        root = json.loads(data)
        section = next(
            root[key] for key in ("mcpServers", "servers", "context_servers") if key in root
        )
        return {
            "-".join(name.lower().replace("_", "-").split()): _client_server(given)
            for name, given in section.items()
        }
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", code="mcp.import") from error
    except (ValueError, StopIteration, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{file} has no servers that are understood",
            code="mcp.import",
            hint='it is JSON with "mcpServers", "servers" or "context_servers"',
        ) from error


def _client_server(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a client says about one server.

    Raises:
        TypeError: It has neither a command nor a URL, or they are no text.
    """
    words = [given.get("url", given.get("command")), *given.get("args", [])]
    if not all(isinstance(word, str) and word for word in words):
        raise TypeError("a server without a command")
    return given


def _text() -> bytes:
    return read_bounded(home_path() / "etc" / FILE_NAME) or b""


def _document() -> tomlkit.TOMLDocument:
    text = _text()
    parse_servers(text, path=f"etc/{FILE_NAME}")  # first with words that say what is wrong
    return tomlkit.parse(text)


def _change(entries: Mapping[str, Mapping[str, Any] | None]) -> None:
    document = _document()
    servers = document.setdefault("servers", tomlkit.table(is_super_table=True))
    for name, entry in entries.items():
        servers.pop(name, None)
        if entry is not None:
            servers[name] = _table(entry)
    text = tomlkit.dumps(document)
    parse_servers(text, path=f"etc/{FILE_NAME}")
    write_atomic(Home.open(home_path()).etc / FILE_NAME, text.encode())


def _table(entry: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in entry.items():
        table[key] = tomlkit.item(value)
    return table


def _running() -> dict[str, dict[str, Any]]:
    try:
        with DaemonClient.connect(home_path(), principal=acting()) as client:
            rows = client.request("GetStatus").data["capsules"]
    except NotRunningError:
        return {}
    return {row["capsule"]: {"state": row["state"], "tools": row["tools"]} for row in rows}


def _reload() -> bool:
    """Make a running daemon follow the file."""
    try:
        with DaemonClient.connect(home_path(), principal=acting()) as client:
            client.request("ReloadCapsules", timeout_s=60)
    except NotRunningError:
        return False
    return True


def _unknown(name: str) -> ConfigError:
    return ConfigError(
        f"there is no server {name!r} in etc/{FILE_NAME}", code="mcp.server", hint="astrid mcp list"
    )
