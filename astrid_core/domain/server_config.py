"""Servers that the operator configured without a capsule: `etc/servers.toml`.

Trusted with making each a capsule of its own, with the same limits as any other: what it may start
and reach is derived from what the operator wrote, and nothing else comes with it.

Spec: kernel-and-security 13.3; capsules-and-bus 5.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from astrid_core.domain.manifest_entries import EnvField, McpServer
from astrid_core.domain.manifest_model import Capabilities, Manifest, Package
from astrid_core.domain.semver import Version
from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import Table
from astrid_hookspecs.errors import DocumentError
from astrid_hookspecs.values import CapsuleId, is_capsule_id

FILE_NAME: Final = "servers.toml"
_KEYS: Final = (
    *("transport", "command", "args", "url", "env", "secrets", "bearer", "description"),
    *("allow_network", "allow_elicitation", "allow_sampling", "shared"),
)
_REFUSED: Final = {
    "trusted": "no server runs without a sandbox",
    "cwd": "a server works in a directory of its own",
    "auto_start": "servers start at their first call",
    "restart_policy": "servers that end are started again at the next call",
    "binary_hash": "install the program where only you can change it",
    "allowed_read_paths": "a server sees the system and its own program",
    "allowed_write_paths": "a server writes to its own directory",
}
"""Keys of the reference that mean something else here, and what holds instead."""
_VERSION: Final = Version(1, 0, 0)


class ServersError(DocumentError):
    """`etc/servers.toml` was refused; no server of it runs.

    Rules: `E-TOML`, `E-SIZE`, `E-UNKNOWN`, `E-VALUE`, `E-MISSING`.
    """

    default_code = "servers.invalid"
    domain = "servers"
    document = "servers"


def parse_servers(text: str | bytes, *, path: str | None = None) -> tuple[Manifest, ...]:
    """Read the file.

    Args:
        text: TOML.
        path: For messages.

    Returns:
        A manifest for each server, in file order; its capsule has the name of the server.

    Raises:
        ServersError: It is not understood completely.
    """
    root = Table.root(Document(text, path=path, error=ServersError))
    root.only(("servers",))
    section = root.section("servers")
    return tuple(_manifest(name, section.need_table(name), section) for name in section)


def _manifest(name: str, table: Table, section: Table) -> Manifest:
    if not is_capsule_id(name):
        raise section.error(
            "E-VALUE",
            f"{name[:80]!r} cannot be the name of a server",
            name,
            hint="use lower-case letters, digits and '-', at most 64",
        )
    for key, instead in _REFUSED.items():
        if key in table:
            raise table.error("E-VALUE", f"{key} is not used", key, hint=instead)
    table.only(_KEYS)
    transport = table.choice("transport", ("stdio", "http")) or "stdio"
    secrets = table.texts("secrets") or ()
    values = {
        key: table.section("env").need_text(key)
        for key in table.section("env")
        if key not in secrets
    }
    keys = (*values, *secrets)
    server = McpServer(
        id=name,
        type=transport,
        command=table.need_text("command") if transport == "stdio" else None,
        args=table.texts("args") or (),
        description=table.text("description"),
        url=table.need_text("url") if transport == "http" else None,
        env=keys,
        bearer=table.text("bearer"),
        shared=table.flag("shared") or False,
    )
    if server.bearer is not None and server.bearer not in keys:
        raise table.error("E-VALUE", "bearer names no key of env or secrets", "bearer")
    return Manifest(
        package=Package(CapsuleId(name), _VERSION, description=server.description),
        capabilities=replace(
            _capabilities(server, network=table.flag("allow_network") or False),
            mcp_elicitation=(name,) if table.flag("allow_elicitation") else (),
            mcp_sampling=(name,) if table.flag("allow_sampling") else (),
        ),
        env=(
            *(EnvField(key, "text", key, default=text) for key, text in values.items()),
            *(EnvField(key, "secret", key) for key in secrets),
        ),
        mcp_servers=(server,),
    )


def _capabilities(server: McpServer, *, network: bool) -> Capabilities:
    """Exactly what the server needs."""
    if server.command is not None:
        return Capabilities(host_process=(server.command,), net=("*",) if network else ())
    try:
        host = urlsplit(server.url or "").hostname
    except ValueError:  # the gate says what is wrong with it
        host = None
    return Capabilities(net=(host,) if host else ())
