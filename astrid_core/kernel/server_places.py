"""Where tool servers work: a directory per principal, capsule and server."""

from __future__ import annotations

from pathlib import Path

from astrid_core.kernel.home import Home
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import CapsuleId, Principal


class ServerPlaces:
    """Implements `astrid_core.host.services.ServerPlaces` on a home. Safe from any thread.

    Args:
        home: Whose principals have homes.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def directory(self, principal: Principal, capsule: CapsuleId, server: str) -> Path:
        """As `host.services.ServerPlaces.directory`."""
        own = self._home.principal(principal)
        if not own.path.is_dir():
            raise ConfigError(
                f"principal {principal!r} has no home, so no server can work for it",
                code="principal.no-home",
                hint=f"make it: astrid agent create {principal}",
            )
        path = own.servers / capsule / server
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the directory of server {server!r} cannot be made: {error.strerror}",
                code="principal.no-home",
            ) from error
        return path
