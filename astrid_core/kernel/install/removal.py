"""Removing a capsule. Spec: capsules-and-bus 2.8, C-30."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from astrid_core.domain.resolve import Unsatisfied, sole_providers
from astrid_core.kernel.audit.capsule_changes import recorded
from astrid_core.kernel.durable import fsync_directory
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.installed import discover, not_found
from astrid_core.kernel.install.places import Place, places
from astrid_core.kernel.install.staging import take_away
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.secrets import SecretStore
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId, parse_capsule_id


class Removed(NamedTuple):
    """What was removed.

    Attributes:
        name: The capsule.
        directory: Where it was.
        purged: What `purge` deleted besides, in words.
        broken: Imports that nobody satisfies any more; only with `force`.
    """

    name: CapsuleId
    directory: Path
    purged: tuple[str, ...]
    broken: tuple[Unsatisfied, ...]


def remove_capsule(
    home: Home,
    capsule: str,
    *,
    audit: AuditTrail,
    workspace: Path | None = None,
    force: bool = False,
    purge: bool = False,
    secrets: SecretStore | None = None,
) -> Removed:
    """Remove an installed capsule, intact or not. Call it under the home lock.

    Its component and interface texts stay in the content store: audit entries refer to them.

    Args:
        home: Where it is installed.
        capsule: Its name, from anywhere.
        audit: Told before anything is removed.
        workspace: Remove it from this workspace instead of the user's capsules.
        force: Remove it even if others need it.
        purge: Delete its settings and secrets as well.
        secrets: Where those are, if there is a store.

    Raises:
        ConfigError: `capsule.invalid-id`.
        CapsuleNotFoundError: It is not installed there.
        CapsuleError: `capsule.needed`; it is the sole provider of something another one imports.
        AuditError: It could not be recorded; nothing was removed.
    """
    name = parse_capsule_id(capsule)
    place = _place(home, workspace)
    target = place.capsule(name)
    if not os.path.lexists(target):
        raise not_found(name, place)
    installed = discover(home, workspace=workspace, check_content=False).capsules
    broken = sole_providers(name, [item.manifest for item in installed])
    if broken and not force:
        raise _needed(name, broken)
    versions = [item.meta.version for item in installed if item.id == name]
    with recorded(audit, "remove", capsule=name, version=versions[0] if versions else ""):
        take_away(target)
        purged = _purge(home, name, secrets) if purge else ()
    return Removed(name, target, purged, broken)


def _place(home: Home, workspace: Path | None) -> Place:
    return places(home, workspace)[-1]


def _needed(name: CapsuleId, broken: tuple[Unsatisfied, ...]) -> CapsuleError:
    parts: dict[str, list[str]] = {}
    for item in broken:
        interface = f"{item.wanted.namespace}/{item.wanted.interface}"
        parts.setdefault(interface, []).append(item.capsule)
    words = "; ".join(
        f"sole provider of {interface}, needed by {', '.join(users)}"
        for interface, users in parts.items()
    )
    return CapsuleError(
        f"capsule {name!r} cannot be removed: {words}",
        code="capsule.needed",
        hint="install another provider first, or remove it anyway with --force",
    )


def _purge(home: Home, name: CapsuleId, secrets: SecretStore | None) -> tuple[str, ...]:
    done: list[str] = []
    env_file = home.principal(DEFAULT_PRINCIPAL).env_file(name)
    with contextlib.suppress(FileNotFoundError):
        env_file.unlink()
        fsync_directory(env_file.parent)
        done.append("settings")
    if secrets is not None:
        scope = f"{DEFAULT_PRINCIPAL}/{name}"
        names = secrets.names(scope)
        for key in names:
            secrets.delete(scope, key)
        if names:
            done.append("secrets")
    return tuple(done)
