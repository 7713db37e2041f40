"""Reading what is installed, and refusing what is not as it was installed.

Trusted with the check before a capsule is loaded: record, seal, files, component. Nothing here
runs or writes. Spec: capsules-and-bus 3.1, vector 116.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_core.domain.archive_rules import DEFAULT_LIMITS, MANIFEST, MIB
from astrid_core.domain.capsule_meta import META_LIMIT, CapsuleMeta, parse_meta
from astrid_core.domain.manifest import Manifest, parse_manifest
from astrid_core.domain.toml_table import did_you_mean
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.content import hash_inside, read_inside
from astrid_core.kernel.install.places import Place, Scope, places
from astrid_core.kernel.install.tree import hash_tree
from astrid_hookspecs.errors import (
    AstridError,
    CapsuleError,
    CapsuleNotFoundError,
    ConfigError,
    IntegrityError,
    ManifestError,
)
from astrid_hookspecs.values import CapsuleId, parse_capsule_id

META: Final = "meta.json"
UNHASHED: Final = frozenset({META})

_REINSTALL: Final = "install it again with `astrid capsule install`"


@dataclass(frozen=True, slots=True)
class InstalledCapsule:
    """A capsule that is installed and, unless checking was left out, intact.

    Attributes:
        id: Its name.
        scope: Where it is installed.
        directory: Its directory.
        manifest: Of the installed version.
        meta: The installer's record; the seal has been checked.
        component: `bin/<hash>.wasm`, None for a capsule without a component.
    """

    id: CapsuleId
    scope: Scope
    directory: Path
    manifest: Manifest
    meta: CapsuleMeta
    component: Path | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A directory that looks like a capsule and is not used.

    Attributes:
        directory: Where it is.
        error: Why.
    """

    directory: Path
    error: AstridError


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is installed.

    Attributes:
        capsules: Usable ones, the default principal's first, then the workspace's, each sorted.
        unusable: The others.
    """

    capsules: tuple[InstalledCapsule, ...]
    unusable: tuple[Unusable, ...]


def read_capsule(
    home: Home, place: Place, name: CapsuleId, *, check_content: bool = True
) -> InstalledCapsule:
    """Read one installed capsule and check it.

    Args:
        home: Whose seal counts.
        place: Where to look.
        name: Which one.
        check_content: Whether to compare files and component with their hashes; leave it out only
            to show, never to load.

    Raises:
        CapsuleNotFoundError: There is no such capsule at this place.
        IntegrityError: It is not as it was installed: `integrity.meta`, `integrity.seal`,
            `integrity.tree`, `integrity.component`.
        ManifestError: Its manifest is refused by this version.
    """
    directory = place.capsule(name)
    if not os.path.lexists(directory):
        raise not_found(name, place)
    try:
        meta = parse_meta(
            read_inside(directory, META, limit=META_LIMIT, what="the record"),
            name=name,
            key=home.meta_key(),
        )
        text = read_inside(directory, MANIFEST, limit=MIB, what="the manifest")
    except (CapsuleError, OSError) as error:
        problem = error.message if isinstance(error, CapsuleError) else error.strerror
        raise IntegrityError(
            f"capsule {name!r} is damaged or was not installed here: {problem}",
            code="integrity.meta",
            hint=_REINSTALL,
        ) from error
    if check_content and hash_tree(directory, leave_out=UNHASHED) != meta.tree_hash:
        raise IntegrityError(
            f"files of capsule {name!r} were changed after its installation",
            code="integrity.tree",
            hint=_REINSTALL,
        )
    # What an older version accepted must stay loadable: unknown keys are warnings here.
    manifest = parse_manifest(text, path=str(directory / MANIFEST), unknown="warn")
    if manifest.name != name:
        raise IntegrityError(
            f"the directory of capsule {name!r} holds {manifest.name!r}", code="integrity.meta"
        )
    component = _component(home, name, manifest, meta, check_content=check_content)
    return InstalledCapsule(name, place.scope, directory, manifest, meta, component)


def _component(
    home: Home, name: CapsuleId, manifest: Manifest, meta: CapsuleMeta, *, check_content: bool
) -> Path | None:
    if manifest.component is None:
        return None
    if meta.wasm_hash is None:
        raise IntegrityError(
            f"the record of capsule {name!r} does not say which component it has",
            code="integrity.meta",
            hint=_REINSTALL,
        )
    path = home.component(meta.wasm_hash)
    if not check_content:
        return path
    try:
        digest = hash_inside(
            path.parent, path.name, limit=DEFAULT_LIMITS.member_bytes, what="the component"
        )
    except CapsuleError as error:
        raise IntegrityError(
            f"the component of capsule {name!r} is missing: {error.message}",
            code="integrity.component",
            hint=_REINSTALL,
        ) from error
    if digest != meta.wasm_hash:
        raise IntegrityError(
            f"the component of capsule {name!r} was changed after its installation",
            code="integrity.component",
            hint=_REINSTALL,
        )
    return path


def not_found(name: str, *looked_in: Place) -> CapsuleNotFoundError:
    """The error for a capsule that is not installed, with the nearest name of those that are.

    Args:
        name: What was asked for.
        looked_in: Where it was looked for.
    """
    known = {directory.name for place in looked_in for directory in _candidates(place)}
    return CapsuleNotFoundError(
        f"no capsule called {name!r} is installed",
        hint=did_you_mean(name, known) or "`astrid capsule list` shows what is",
    )


def load_installed(
    home: Home, capsule: str, *, workspace: Path | None = None, check_content: bool = True
) -> InstalledCapsule:
    """Find an installed capsule by name, the default principal's first, and check it.

    Args:
        home: The opened home.
        capsule: Its name, from anywhere.
        workspace: Project to look in as well.
        check_content: As for `read_capsule`.

    Raises:
        ConfigError: `capsule.invalid-id`.
        As `read_capsule`.
    """
    name = parse_capsule_id(capsule)
    for place in places(home, workspace):
        if os.path.lexists(place.capsule(name)):
            return read_capsule(home, place, name, check_content=check_content)
    raise not_found(name, *places(home, workspace))


def discover(home: Home, *, workspace: Path | None = None, check_content: bool = True) -> Discovery:
    """Every installed capsule. What cannot be used is reported, not raised.

    Names that start with a dot or end in `.bak` are leftovers and skipped. A name found twice
    counts where it is found first.

    Spec: capsules-and-bus 3.1, C-32.
    """
    capsules: dict[CapsuleId, InstalledCapsule] = {}
    unusable: list[Unusable] = []
    for place in places(home, workspace):
        for directory in _candidates(place):
            if directory.name in capsules:
                unusable.append(Unusable(directory, _shadowed(directory.name)))
                continue
            try:
                name = parse_capsule_id(directory.name)
                capsules[name] = read_capsule(home, place, name, check_content=check_content)
            except (CapsuleError, ConfigError, IntegrityError, ManifestError) as error:
                unusable.append(Unusable(directory, error))
    return Discovery(tuple(capsules.values()), tuple(unusable))


def _shadowed(name: str) -> CapsuleError:
    return CapsuleError(
        f"capsule {name!r} is installed for the user as well; that one is used",
        code="capsule.shadowed",
    )


def _candidates(place: Place) -> list[Path]:
    if place.path.is_symlink() or place.path.parent.is_symlink():
        return []
    try:
        entries = sorted(place.path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        entry
        for entry in entries
        if not entry.name.startswith(".") and not entry.name.endswith(".bak") and entry.is_dir()
    ]
