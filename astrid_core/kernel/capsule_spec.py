"""From an installed capsule to what engines and host functions need to know about it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from astrid_core.domain.environment import resolve_environment
from astrid_core.domain.file_pattern import parse_file_patterns
from astrid_core.domain.manifest import Manifest
from astrid_core.host.context import CapsuleContext
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.engines import CapsuleSpec, McpServerSpec
from astrid_hookspecs.values import Principal


def capsule_spec(
    manifest: Manifest,
    *,
    directory: Path,
    component: Path | None,
    component_hash: str | None,
    settings: Mapping[str, str],
) -> CapsuleSpec:
    """The engine's view, with a source id of its own.

    Args:
        manifest: Validated.
        directory: Installed or staged directory.
        component: The component's file, None without one.
        component_hash: Its recorded BLAKE3.
        settings: Stored answers to `[env]`, without secrets.
    """
    stored = {key: text.encode() for key, text in settings.items()}
    return CapsuleSpec(
        id=manifest.name,
        version=str(manifest.package.version),
        source_id=str(uuid.uuid4()),
        directory=directory,
        component=component,
        component_hash=component_hash,
        bindings=manifest.interceptors,
        servers=server_specs(manifest),
        is_daemon=manifest.is_daemon,
        state=manifest.state,
        run_class=manifest.run_class,
        environment=resolve_environment(manifest.env, stored=stored).values,
    )


def server_specs(manifest: Manifest) -> tuple[McpServerSpec, ...]:
    """The tool servers of the capsule, in the order of the manifest."""
    return tuple(
        McpServerSpec(
            server.id,
            server.type or "",
            server.command,
            server.args,
            url=server.url,
            env=server.env,
            bearer=server.bearer,
            shared=server.shared,
        )
        for server in manifest.mcp_servers
    )


def capsule_grants(manifest: Manifest) -> CapsuleGrants:
    """What the manifest lets the capsule do."""
    held = (
        name.name
        for name in fields(manifest.capabilities)
        if getattr(manifest.capabilities, name.name)
    )
    return CapsuleGrants(
        manifest.name,
        publish=manifest.effective_publish_acl,
        subscribe=manifest.effective_subscribe_acl,
        uplink=manifest.capabilities.uplink,
        identity=manifest.capabilities.identity,
        fs_read=parse_file_patterns(manifest.capabilities.fs_read),
        fs_write=parse_file_patterns(manifest.capabilities.fs_write),
        host_process=manifest.capabilities.host_process,
        mcp_elicitation=manifest.capabilities.mcp_elicitation,
        mcp_sampling=manifest.capabilities.mcp_sampling,
        any_host="*" in manifest.capabilities.net,
        persistent=manifest.capabilities.allow_persistent,
        net=manifest.capabilities.net,
        net_connect=manifest.capabilities.net_connect,
        net_tcp_bind=manifest.capabilities.net_tcp_bind,
        net_udp=manifest.capabilities.net_udp,
        net_bind=any(manifest.capabilities.net_bind),
        capabilities=frozenset(held),
    )


def capsule_context(
    manifest: Manifest,
    spec: CapsuleSpec,
    *,
    owner: Principal,
    extra_config: Mapping[str, object] | None = None,
) -> CapsuleContext:
    """The host functions' view.

    Args:
        manifest: Validated.
        spec: Made from it.
        owner: For whom the capsule is loaded.
        extra_config: Configuration the kernel adds (`prev_version` during an upgrade).
    """
    return CapsuleContext(
        spec=spec,
        grants=capsule_grants(manifest),
        owner=owner,
        secret_keys=frozenset(manifest.secret_keys),
        has_inbound=bool(manifest.uplinks),
        config={**spec.environment, **(extra_config or {})},
    )
