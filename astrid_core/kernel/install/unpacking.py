"""From a source to a private copy of it beside the installed capsules, and the copy's manifest.

Trusted with reading only what was copied: the manifest that people consent to is the staged one,
whatever happens to the source meanwhile. Spec: capsules-and-bus 2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from astrid_core.domain.archive_rules import MANIFEST, MIB
from astrid_core.domain.manifest import Manifest, parse_manifest
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.archive import unpack_named
from astrid_core.kernel.install.content import archive_named, read_inside
from astrid_core.kernel.install.sources import Source, require_manifest
from astrid_core.kernel.install.tree import copy_source
from astrid_hookspecs.errors import CapsuleError


def read_source(
    source: Source, staging: Path, *, home: Home, on_step: Callable[[str], object]
) -> Manifest:
    """Copy a source into an empty staging directory and read the copy's manifest.

    Args:
        source: An archive or a directory.
        staging: Where the copy goes.
        home: The runtime home, which no source may contain.
        on_step: Hears `unpack` and `manifest`, each before it happens.

    Raises:
        ArchiveError: The archive or the tree was refused.
        CapsuleError: `capsule.source`: it is no capsule.
        ManifestError: The manifest was refused.
    """
    on_step("unpack")
    if source.kind == "archive":
        unpack_named(source.path, staging)
    elif home.path.is_relative_to(source.path):
        raise CapsuleError(
            f"the runtime home lies inside {source.path}, so that is no capsule",
            code="capsule.source",
        )
    else:
        require_manifest(source.path)
        copy_source(source.path, staging)
    on_step("manifest")
    return read_manifest(staging, source)


def read_manifest(directory: Path, source: Source) -> Manifest:
    """The manifest in a directory that has the content of a source, which errors name.

    Raises:
        CapsuleError: `capsule.file`: it cannot be read.
        ManifestError: It was refused.
    """
    with archive_named(source):
        text = read_inside(directory, MANIFEST, limit=MIB, what="the manifest")
    is_archive = source.kind == "archive"
    path = f"{source.path}:{MANIFEST}" if is_archive else source.path / MANIFEST
    return parse_manifest(text, path=str(path))
