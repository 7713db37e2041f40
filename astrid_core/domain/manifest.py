"""Reading a `Capsule.toml`: untrusted text in, a frozen `Manifest` or a `ManifestError` out.

Trusted with the first look at everything an author, an archive or a server says about a capsule.
No file is opened and nothing named in the text is followed. The model lives in `manifest_model`,
the tables in `manifest_tables`, `manifest_topics` and `manifest_interfaces`, the rules in
`manifest_validate`.
"""

from __future__ import annotations

import dataclasses
from typing import Final, get_args

from astrid_core.domain.manifest_entries import (
    Command,
    ContextFile,
    EnvField,
    Interceptor,
    McpServer,
    Pin,
    PublishGrant,
    Skill,
    SubscribeGrant,
    Tool,
    TopicDeclaration,
    TopicGrant,
    Uplink,
)
from astrid_core.domain.manifest_interfaces import read_exports, read_imports
from astrid_core.domain.manifest_model import (
    Capabilities,
    Component,
    Export,
    Import,
    Manifest,
    Package,
    RunClass,
    State,
)
from astrid_core.domain.manifest_tables import (
    merge_capabilities,
    read_capabilities,
    read_commands,
    read_components,
    read_context_files,
    read_env,
    read_mcp_servers,
    read_skills,
    read_tools,
    read_uplinks,
)
from astrid_core.domain.manifest_topics import (
    read_interceptors,
    read_publish,
    read_subscribe,
    read_topics,
)
from astrid_core.domain.manifest_validate import check_manifest, read_package
from astrid_core.domain.semver import Version
from astrid_core.domain.toml_document import Diagnostic, Document, UnknownKeys
from astrid_core.domain.toml_table import Table

__all__ = [
    "RUNTIME_VERSION",
    "Capabilities",
    "Command",
    "Component",
    "ContextFile",
    "Diagnostic",
    "EnvField",
    "Export",
    "Import",
    "Interceptor",
    "Manifest",
    "McpServer",
    "Package",
    "Pin",
    "PublishGrant",
    "Skill",
    "SubscribeGrant",
    "Tool",
    "TopicDeclaration",
    "TopicGrant",
    "Uplink",
    "parse_manifest",
]

RUNTIME_VERSION: Final = "0.7.0"
"""The upstream runtime whose manifests we read; what `astrid-version` is compared with."""

_TABLES: Final = (
    "package",
    "component",
    "imports",
    "exports",
    "publish",
    "subscribe",
    "capabilities",
    "env",
    "mcp_server",
    "uplink",
    "command",
    "context_file",
    "skill",
    "tool",
    "interceptor",
    "topic",
    "capsule",
)
_STATES: Final[tuple[State, ...]] = get_args(State)
_RUN_CLASSES: Final[tuple[RunClass, ...]] = get_args(RunClass)


def parse_manifest(
    text: str | bytes,
    *,
    path: str | None = None,
    runtime_version: str = RUNTIME_VERSION,
    unknown: UnknownKeys = "deny",
) -> Manifest:
    """Read and validate a manifest.

    Args:
        text: The document, at most 1 MiB; bytes are UTF-8.
        path: How to name the file in errors.
        runtime_version: Semantic version that `astrid-version` must admit.
        unknown: `deny` refuses unknown tables and keys and access list keys that can never match.
            `warn` puts them in `Manifest.warnings`; it is meant for capsules that another tool has
            installed. Keys that only later runtimes use are warnings in both modes.

    Raises:
        ManifestError: The text is refused; carries the id of the first broken rule, the dotted key,
            the line where there is one, and a suggestion.

    Spec: capsules-and-bus 1.10.
    """
    document = Document(text, path=path, unknown=unknown)
    root = Table.root(document)
    root.only(_TABLES)
    package = root.need_table("package")
    own = read_capabilities(root.table("capabilities"))
    components = read_components(root.tables("component"))
    state, run_class = _read_capsule(root.table("capsule"))
    manifest = Manifest(
        components=components,
        imports=read_imports(root.table("imports")),
        exports=read_exports(root.table("exports")),
        publish=read_publish(root.table("publish")),
        subscribe=read_subscribe(root.table("subscribe")),
        env=read_env(root.table("env")),
        mcp_servers=read_mcp_servers(root.tables("mcp_server")),
        uplinks=read_uplinks(root.tables("uplink")),
        commands=read_commands(root.tables("command")),
        context_files=read_context_files(root.tables("context_file")),
        skills=read_skills(root.tables("skill")),
        tools=read_tools(root.tables("tool")),
        legacy_interceptors=read_interceptors(root.tables("interceptor")),
        topics=read_topics(root.tables("topic")),
        state=state,
        run_class=run_class,
        capabilities=merge_capabilities(root, own, components),
        # Last, because its rules 4 to 6 come after the types of every other table.
        package=read_package(package, runtime_version=Version.parse(runtime_version)),
    )
    check_manifest(root, manifest, own_capabilities=own)
    return dataclasses.replace(manifest, warnings=document.warnings())


def _read_capsule(table: Table | None) -> tuple[State, RunClass]:
    """`[capsule]`, our addition: how the engine keeps and runs instances."""
    if table is None:
        return "shared", "auto"
    table.only(("state", "class"))
    return table.choice("state", _STATES) or "shared", table.choice("class", _RUN_CLASSES) or "auto"
