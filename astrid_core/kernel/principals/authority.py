"""Which management capabilities a principal holds, by its profile and the groups there are now."""

from __future__ import annotations

from astrid_core.domain.capability import Decision, decide
from astrid_core.kernel.principals.group_store import GroupStore
from astrid_core.kernel.profiles import ProfileStore
from astrid_hookspecs.values import Principal


class Authority:
    """Answers for the gate and for whoever explains the gate. Safe from any thread.

    Args:
        profiles: Of all principals.
        groups: Of the home.
    """

    def __init__(self, profiles: ProfileStore, groups: GroupStore) -> None:
        self.profiles = profiles
        self.groups = groups

    def decide(self, principal: Principal, capability: str) -> Decision:
        """Whether the principal holds a concrete capability, and which list says so.

        Raises:
            ConfigError: Its profile or the groups cannot be read: the caller refuses.

        Spec: kernel-and-security 4.2, 5.6.
        """
        profile = self.profiles.profile(principal)
        return decide(profile, capability, groups=self.groups.groups())
