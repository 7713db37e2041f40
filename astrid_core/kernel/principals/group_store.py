"""Groups, read from `etc/groups.toml` and kept while the file does not change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from astrid_core.domain.capability import BUILTIN_GROUPS, Group
from astrid_core.domain.profile import parse_groups
from astrid_core.kernel.stamp import Stamp, stamp_of
from astrid_hookspecs.errors import ConfigError

FILE_NAME: Final = "groups.toml"
_SHOWN: Final = "etc/groups.toml"


class GroupStore:
    """Looks groups up; an edit applies to the next call. Safe from any thread.

    Args:
        etc: `etc/` of the runtime home.
    """

    def __init__(self, etc: Path) -> None:
        self._path = os.fspath(etc / FILE_NAME)
        self._cached: tuple[Stamp, Mapping[str, Group]] | None = None

    def groups(self) -> Mapping[str, Group]:
        """Every group there is, the built-in ones first.

        Raises:
            ConfigError: The file is malformed or unreadable. The caller refuses the action.

        Spec: kernel-and-security 5.4.
        """
        try:
            stamp = stamp_of(self._path)
        except OSError as error:
            raise _unreadable(error) from error
        if stamp is None:
            return BUILTIN_GROUPS
        cached = self._cached
        if cached is not None and cached[0] == stamp:
            return cached[1]
        groups = parse_groups(self.text(), path=_SHOWN)
        self._cached = (stamp, groups)
        return groups

    def text(self) -> str:
        """The file as it is; empty when there is none.

        Raises:
            ConfigError: It cannot be read.
        """
        try:
            return Path(self._path).read_bytes().decode()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(error) from error


def _unreadable(error: OSError | UnicodeDecodeError) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigError(
        f"{_SHOWN} cannot be read: {reason}",
        code="profile.unreadable",
        hint=f"repair or delete {_SHOWN}",
    )
