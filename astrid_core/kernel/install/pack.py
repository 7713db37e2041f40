"""Writing `.capsule` archives, reproducibly.

Trusted with nothing: what it writes is checked again when it is installed. The same tree always
yields the same bytes: the manifest first, then sorted names, no owners, no times.
Spec: capsules-and-bus 2.3.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from blake3 import blake3

from astrid_core.domain.archive_rules import DEFAULT_LIMITS, MANIFEST, MIB, ArchiveLimits
from astrid_core.kernel.install.tree import SourceEntry, walk_source

LARGE_BYTES: Final = 50 * MIB
"""Archives above this size deserve a warning."""


class Packed(NamedTuple):
    """A written archive.

    Attributes:
        path: Where it is.
        size_bytes: Its length.
        digest: BLAKE3 of its bytes, 64 hex digits.
    """

    path: Path
    size_bytes: int
    digest: str

    @property
    def is_large(self) -> bool:
        """Whether its size deserves a warning."""
        return self.size_bytes > LARGE_BYTES


def pack_capsule(source: Path, target: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> Packed:
    """Pack a capsule directory; `target` appears complete or not at all.

    Args:
        source: A directory with `Capsule.toml`; links inside it are followed.
        target: The archive to create or replace; its directory exists.
        limits: Bounds that the installer will apply as well.

    Raises:
        ArchiveError: An entry would be refused at installation.
    """
    descriptor, name = tempfile.mkstemp(prefix=".packing-", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            _write(source, file, limits)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            file.seek(0)
            digest = blake3(file.read()).hexdigest()
            size = file.tell()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Packed(target, size, digest)


def _write(source: Path, file: BinaryIO, limits: ArchiveLimits) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for is_manifest in (True, False):
            for entry in walk_source(source, limits=limits):
                if (entry.parts == (MANIFEST,)) is is_manifest:
                    _add(archive, entry)


def _add(archive: tarfile.TarFile, entry: SourceEntry) -> None:
    header = tarfile.TarInfo("/".join(entry.parts))
    if entry.kind == "directory":
        header.type = tarfile.DIRTYPE
        header.mode = 0o755
        archive.addfile(header)
        return
    header.size = entry.size
    header.mode = 0o755 if entry.is_executable else 0o644
    with os.fdopen(os.dup(entry.descriptor), "rb") as content:
        archive.addfile(header, content)
