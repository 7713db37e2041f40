"""Profiles of principals, read from `etc/profiles/` and kept while the file does not change."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from astrid_core.domain.profile import DEFAULT_PROFILE, Profile, Quotas, parse_profile
from astrid_core.kernel.stamp import Stamp, stamp_of
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

MAX_PROFILE_BYTES: Final = 1024 * 1024
OWNER_PROFILE: Final = Profile(groups=("admin",))
"""Of the principal `default` without a file."""


class ProfileStore:
    """Looks profiles up; an edit applies to the next call. Safe from any thread.

    Args:
        directory: `etc/profiles` of the runtime home; need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.fspath(directory)
        self._cache: dict[Principal, tuple[Stamp, Profile]] = {}

    def has(self, principal: Principal) -> bool:
        """Whether there is something in the place of the principal's profile."""
        return os.path.lexists(f"{self._directory}/{principal}.toml")

    def quotas(self, principal: Principal) -> Quotas:
        """The principal's limits; raises as `profile`."""
        return self.profile(principal).quotas

    def is_enabled(self, principal: Principal) -> bool:
        """Whether the principal is switched on; raises as `profile`."""
        return self.profile(principal).enabled

    def process_allow(self, principal: Principal) -> tuple[str, ...]:
        """Which programs may be started for the principal; raises as `profile`."""
        return self.profile(principal).process_allow

    def profile(self, principal: Principal) -> Profile:
        """The principal's profile; the default one when there is no file.

        Raises:
            ConfigError: The file is malformed or unreadable. The caller refuses the action: a
                damaged profile never falls back to a wider one.
        """
        path = f"{self._directory}/{principal}.toml"
        try:
            stamp = stamp_of(path)
        except OSError as error:
            raise _unreadable(principal, error) from error
        if stamp is None:
            return OWNER_PROFILE if principal == DEFAULT_PRINCIPAL else DEFAULT_PROFILE
        cached = self._cache.get(principal)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        profile = with_owner_group(
            principal,
            parse_profile(_read(path, principal), path=f"etc/profiles/{principal}.toml"),
        )
        self._cache[principal] = (stamp, profile)
        return profile


def with_owner_group(principal: Principal, profile: Profile) -> Profile:
    """The owner is an administrator unless its profile says what it may do.

    Spec: kernel-and-security 6.4.
    """
    is_silent = not (profile.groups or profile.grants or profile.revokes)
    if principal == DEFAULT_PRINCIPAL and is_silent:
        return replace(profile, groups=OWNER_PROFILE.groups)
    return profile


def _read(path: str, principal: Principal) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - plain file, path built above
            data = file.read(MAX_PROFILE_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(principal, error) from error
    if len(data) > MAX_PROFILE_BYTES:
        raise ConfigError(
            f"the profile of {principal!r} is larger than {MAX_PROFILE_BYTES} bytes",
            code="profile.too-large",
        )
    return text


def _unreadable(principal: Principal, error: Exception) -> ConfigError:
    """Without the path that an `OSError` names: the message reaches whoever called."""
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigError(
        f"the profile of {principal!r} cannot be read: {reason}",
        code="profile.unreadable",
        hint=f"repair or delete etc/profiles/{principal}.toml",
    )
