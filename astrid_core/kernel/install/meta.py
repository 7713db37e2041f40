"""Making the record of an installation. Spec: capsules-and-bus 2.6."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from astrid_core.domain.capsule_meta import (
    TOOLS_LIMIT,
    BakedTopic,
    CapsuleMeta,
    ToolDescription,
    parse_tools,
)
from astrid_core.domain.manifest import Export, Import, Manifest
from astrid_core.kernel.install.content import read_inside
from astrid_core.kernel.install.installed import UNHASHED, InstalledCapsule
from astrid_core.kernel.install.tree import hash_tree
from astrid_hookspecs.errors import CapsuleError

_TOOLS: Final = "tools.json"


def timestamp(now: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    text = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def build_meta(
    manifest: Manifest,
    staging: Path,
    *,
    now: float,
    source: str | None,
    previous: InstalledCapsule | None,
    wasm_hash: str | None,
    wit_files: dict[str, str],
    topics: list[BakedTopic],
) -> CapsuleMeta:
    """Describe a staged capsule whose component and interface texts have been stored.

    Raises:
        CapsuleError: `capsule.tools`; `tools.json` is malformed or contradicts the manifest.
    """
    moment = timestamp(now)
    if source is None and previous is not None:
        source = previous.meta.source
    return CapsuleMeta(
        version=str(manifest.package.version),
        installed_at=previous.meta.installed_at if previous is not None else moment,
        updated_at=moment,
        tree_hash=hash_tree(staging, leave_out=UNHASHED),
        source=source,
        imports=_interfaces((item, str(item.requirement)) for item in manifest.imports),
        exports=_interfaces((item, str(item.version)) for item in manifest.exports),
        topics=topics,
        wasm_hash=wasm_hash,
        wit_files=wit_files,
        tools=_tools(manifest, staging),
    )


def _interfaces(items: Iterable[tuple[Import | Export, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for item, text in items:
        found.setdefault(item.namespace, {})[item.interface] = text
    return found


def _tools(manifest: Manifest, staging: Path) -> list[ToolDescription]:
    """The tools that the manifest routes, with what the builder and the author say about them."""
    described: dict[str, ToolDescription] = {
        tool.name: ToolDescription(name=tool.name, description=tool.description_for_llm)
        for tool in manifest.tools
    }
    if (staging / _TOOLS).exists():
        data = read_inside(staging, _TOOLS, limit=TOOLS_LIMIT, what="the tool list")
        built = {tool.name: tool for tool in parse_tools(data)}
        described.update(built)
        unrouted = sorted(set(built) - set(manifest.tool_names))
        if unrouted:
            raise CapsuleError(
                f"tools.json describes {unrouted[0]!a}, which the manifest does not route",
                code="capsule.tools",
                hint=f'subscribe to "tool.v1.execute.{unrouted[0]}" with a handler, or rebuild',
            )
    return [described.get(name, ToolDescription(name=name)) for name in manifest.tool_names]
