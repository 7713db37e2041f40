"""What is to be loaded: installed capsules, and a capsule for each server of `etc/servers.toml`."""

from __future__ import annotations

from pathlib import Path

from astrid_core.config.document import read_bounded
from astrid_core.domain.capsule_meta import CapsuleMeta
from astrid_core.domain.server_config import FILE_NAME, parse_servers
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.installed import (
    Discovery,
    InstalledCapsule,
    Unusable,
    discover,
    load_installed,
)
from astrid_hookspecs.errors import (
    AstridError,
    CapsuleError,
    CapsuleNotFoundError,
)


def everything(home: Home, *, workspace: Path | None = None) -> Discovery:
    """Every capsule that can be loaded; what cannot be used is reported, not raised.

    An installed capsule wins over a configured server of its name.
    """
    found = discover(home, workspace=workspace)
    taken = {capsule.id for capsule in found.capsules}
    unusable = list(found.unusable)
    configured = []
    try:
        for capsule in configured_servers(home):
            if capsule.id in taken:
                error = CapsuleError(
                    f"a capsule called {capsule.id!r} is installed; that one is used",
                    code="capsule.shadowed",
                )
                unusable.append(Unusable(home.etc / FILE_NAME, error))
            else:
                configured.append(capsule)
    except AstridError as error:
        unusable.append(Unusable(home.etc / FILE_NAME, error))
    return Discovery((*found.capsules, *configured), tuple(unusable))


def load_one(home: Home, name: str, *, workspace: Path | None = None) -> InstalledCapsule:
    """One of `everything`, by name.

    Raises:
        CapsuleNotFoundError: There is none.
        As `load_installed`.
    """
    try:
        return load_installed(home, name, workspace=workspace)
    except CapsuleNotFoundError:
        for capsule in configured_servers(home):
            if capsule.id == name:
                return capsule
        raise


def configured_servers(home: Home) -> list[InstalledCapsule]:
    """A capsule for each server of the file; none without a file.

    Raises:
        ServersError: The file is not understood completely.
        ConfigError: It cannot be read.
    """
    path = home.etc / FILE_NAME
    text = read_bounded(path)
    if text is None:
        return []
    out = []
    for manifest in parse_servers(text, path=f"etc/{FILE_NAME}"):
        directory = home.var / "servers" / manifest.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        meta = CapsuleMeta(
            version=str(manifest.package.version), installed_at="", updated_at="", tree_hash=""
        )
        out.append(
            InstalledCapsule(manifest.name, "user", directory.resolve(), manifest, meta, None)
        )
    return out
