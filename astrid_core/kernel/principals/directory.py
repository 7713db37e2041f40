"""Principals as the management API changes them: create, switch off, group, grant, limit.

Every method either does all of it or raises and has done nothing. Who may call it is the gate's
business. Spec: kernel-and-security 4.4, 5, 16 D-20 to D-31.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from astrid_core.domain.capability import is_universal, parse_capability
from astrid_core.domain.identity import is_reserved_principal
from astrid_core.domain.profile import Profile, Quotas
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.editor import PrincipalFiles
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal, is_principal

CLI_PLATFORM: Final = "cli"
NEW_GROUPS: Final = ("agent",)
"""Groups of a new principal for which none are named."""


class Created(NamedTuple):
    """A new principal and the user that stands for it."""

    principal: Principal
    user_id: str


class Changed(NamedTuple):
    """The profile after a change, and whether it differs from the one before."""

    profile: Profile
    changed: bool


class Row(NamedTuple):
    """A principal and its profile, or why the profile cannot be used."""

    principal: Principal
    profile: Profile | None
    problem: ConfigError | None = None


class PrincipalDirectory:
    """All principals that have a profile. Safe from any thread.

    Args:
        files: Writes profiles.
        authority: Reads them.
        identities: Users and links.
        create_home: Makes the directories of a principal.
    """

    def __init__(
        self,
        files: PrincipalFiles,
        *,
        authority: Authority,
        identities: IdentityStore,
        create_home: Callable[[Principal], object],
    ) -> None:
        self._files = files
        self._authority = authority
        self._identities = identities
        self._create_home = create_home

    def create(
        self,
        name: str,
        *,
        groups: Sequence[str] = (),
        grants: Sequence[str] = (),
        unsafe_admin: bool = False,
        quotas: Mapping[str, int] | None = None,
    ) -> Created:
        """Make a principal: its profile, its user, its link `cli/<name>` and its home.

        Args:
            name: Of the new principal.
            groups: None for `NEW_GROUPS`.
            grants: Capability patterns.
            unsafe_admin: Allows a grant that covers everything.
            quotas: Limits that are not to be the defaults.

        Raises:
            PrincipalError: `.invalid-name`, `.reserved`, `.exists`, `.unsafe`,
                `.invalid-argument`, `.invalid-profile` or `.invalid-quota`.
            StoreError: A step failed; the ones before it were undone.
        """
        principal = self._new_name(name)
        _check_patterns(grants, unsafe_admin=unsafe_admin, may_be_empty=True)
        with self._files.changing():
            self._check_unused(principal)
            user = None
            self._files.edit_profile(
                principal,
                {"groups": list(groups or NEW_GROUPS), "grants": list(grants) or None},
            )
            try:
                if quotas:
                    self._edit_quotas(principal, quotas)
                user = self._identities.create_user(principal, principal=principal)
                self._identities.link(CLI_PLATFORM, principal, user.id, method="system")
                self._create_home(principal)
            except BaseException:
                if user is not None:
                    self._identities.delete_user(user.id)
                self._files.remove_profile(principal)
                raise
            return Created(principal, user.id)

    def delete(self, principal: Principal) -> bool:
        """Switch a principal off for good: no rights, no user, no link, and nobody gets its id.

        Its files stay, and so does a profile that says it was deleted: without one it would be an
        unknown principal, which may still run capsules.

        Returns:
            False when there was none.

        Raises:
            PrincipalError: `.reserved` or `.lock-out`.
        """
        _check_not_owner(principal, "deleted")
        with self._files.changing():
            user_id = self._identities.resolve(CLI_PLATFORM, principal)
            if user_id is not None:
                self._identities.delete_user(user_id.id)
            if not self._files.has_profile(principal):
                return False
            self._files.edit_profile(
                principal,
                {"enabled": False, "groups": None, "grants": None, "revokes": ["*"]},
                heading="deleted; remove this file only to give the name to somebody new",
            )
            return True

    def set_enabled(self, principal: Principal, *, enabled: bool) -> Changed:
        """Switch a principal on or off, on every surface, from its next action on.

        Raises:
            PrincipalError: `.not-found`, `.reserved` or `.lock-out`.
        """
        if not enabled:
            _check_not_owner(principal, "disabled")
        with self._files.changing():
            profile = self.profile(principal)
            if profile.enabled is enabled:
                return Changed(profile, changed=False)
            changed = self._files.edit_profile(principal, {"enabled": enabled})
            return Changed(changed, changed=True)

    def modify_groups(
        self, principal: Principal, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> Changed:
        """Take a principal out of groups, then put it into others.

        Raises:
            PrincipalError: `.invalid-argument`: nothing to do; `.not-found`, `.invalid-profile`,
                `.lock-out`, or `.reserved`: the owner would have no group and no grant, which
                means that it is an administrator.
        """
        if not add and not remove:
            raise PrincipalError("no group to add or to remove was named")
        with self._files.changing():
            before = self.profile(principal)
            kept = [name for name in before.groups if name not in remove]
            kept += [name for name in dict.fromkeys(add) if name not in kept]
            if set(kept) == set(before.groups):
                return Changed(before, changed=False)
            if principal == DEFAULT_PRINCIPAL and not (kept or before.grants or before.revokes):
                raise PrincipalError(
                    "the owner is an administrator when its profile names no group",
                    code="principal.reserved",
                    hint="add the group it shall have, for instance restricted, in the same change",
                )
            return Changed(self._files.edit_profile(principal, {"groups": kept}), changed=True)

    def grant(
        self, principal: Principal, capabilities: Sequence[str], *, unsafe_admin: bool = False
    ) -> Changed:
        """Add grants; a revoke of the same still wins.

        Raises:
            PrincipalError: `.invalid-argument`, `.unsafe`, `.not-found`.
        """
        _check_patterns(capabilities, unsafe_admin=unsafe_admin)
        return self._edit_list(principal, "grants", add=capabilities)

    def ungrant(self, principal: Principal, capabilities: Sequence[str]) -> Changed:
        """Take grants back; those it does not have are ignored.

        Raises:
            PrincipalError: `.invalid-argument`, `.not-found`, `.lock-out`.
        """
        _check_patterns(capabilities, unsafe_admin=True)
        return self._edit_list(principal, "grants", remove=capabilities)

    def revoke(self, principal: Principal, capabilities: Sequence[str]) -> Changed:
        """Add revokes, which win over grants and groups.

        Raises:
            PrincipalError: `.invalid-argument`, `.reserved`, `.not-found`, `.lock-out`.
        """
        _check_not_owner(principal, "revoked rights")
        _check_patterns(capabilities, unsafe_admin=True)
        return self._edit_list(principal, "revokes", add=capabilities)

    def unrevoke(self, principal: Principal, capabilities: Sequence[str]) -> Changed:
        """Take revokes back; those it does not have are ignored.

        Raises:
            PrincipalError: `.invalid-argument`, `.not-found`.
        """
        _check_patterns(capabilities, unsafe_admin=True)
        return self._edit_list(principal, "revokes", remove=capabilities)

    def set_quotas(
        self,
        principal: Principal,
        quotas: Mapping[str, int],
        *,
        keep_rest: bool = False,
        check: Callable[[Quotas, Quotas], object] | None = None,
    ) -> Quotas:
        """Replace the limits of a principal.

        Args:
            principal: Whose.
            quotas: New limits.
            keep_rest: Keep those that are not named, instead of giving them their defaults.
            check: Called with the limits before and after, and no other change in between; what it
                raises ends the change.

        Raises:
            PrincipalError: `.invalid-quota`, `.not-found`.
        """
        with self._files.changing():
            before = self.profile(principal).quotas
            if check is not None:
                check(before, replace(before if keep_rest else Quotas(), **quotas))
            rest = {} if keep_rest else dict.fromkeys(Quotas.__slots__)
            return self._edit_quotas(principal, {**rest, **quotas})

    def _edit_quotas(self, principal: Principal, quotas: Mapping[str, int | None]) -> Quotas:
        try:
            return self._files.edit_profile(principal, quotas, table=["quotas"]).quotas
        except PrincipalError as error:
            raise PrincipalError(
                error.message, code="principal.invalid-quota", hint=error.hint
            ) from error

    def profile(self, principal: Principal) -> Profile:
        """The profile of a principal that has one; the owner always does.

        Raises:
            PrincipalError: `.not-found`.
            ConfigError: It cannot be read.
        """
        if principal != DEFAULT_PRINCIPAL and not self._files.has_profile(principal):
            raise PrincipalError(
                f"there is no principal {principal!r}",
                code="principal.not-found",
                hint="`astrid agent list` shows which there are",
            )
        return self._authority.profiles.profile(principal)

    def rows(self) -> list[Row]:
        """All principals, sorted, the owner among them."""
        return [self._row(one) for one in sorted({DEFAULT_PRINCIPAL, *self._files.principals()})]

    def _row(self, principal: Principal) -> Row:
        try:
            return Row(principal, self._authority.profiles.profile(principal))
        except ConfigError as error:
            return Row(principal, None, error)

    def _edit_list(
        self, principal: Principal, key: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> Changed:
        with self._files.changing():
            before = self.profile(principal)
            present: tuple[str, ...] = getattr(before, key)
            after = [one for one in present if one not in remove]
            after += [one for one in dict.fromkeys(add) if one not in after]
            if after == list(present):
                return Changed(before, changed=False)
            changes: dict[str, list[str] | None] = {key: after or None}
            if principal == DEFAULT_PRINCIPAL:  # it stays what it was without this list
                changes["groups"] = list(before.groups)
            return Changed(self._files.edit_profile(principal, changes), changed=True)

    @staticmethod
    def _new_name(name: str) -> Principal:
        if not is_principal(name):
            raise PrincipalError(
                f"{name[:80]!r} is not a principal id",
                code="principal.invalid-name",
                hint="use 1 to 64 letters, digits, underscores and hyphens",
            )
        if is_reserved_principal(name):
            raise PrincipalError(
                f"the id {name!r} is reserved",
                code="principal.reserved",
                hint="the owner is `default`; ids that begin with two underscores are the kernel's",
            )
        return Principal(name)

    def _check_unused(self, principal: Principal) -> None:
        for other in self._files.principals():
            if other.lower() == principal.lower():
                raise PrincipalError(
                    f"there is a principal {other!r} already",
                    code="principal.exists",
                    hint="ids that differ only in case would share files on some systems"
                    if other != principal
                    else "`astrid agent show` says what it may do",
                )


def _check_not_owner(principal: Principal, what: str) -> None:
    if principal == DEFAULT_PRINCIPAL:
        raise PrincipalError(
            f"the owner {DEFAULT_PRINCIPAL!r} cannot be {what}", code="principal.reserved"
        )


def _check_patterns(
    patterns: Sequence[str], *, unsafe_admin: bool, may_be_empty: bool = False
) -> None:
    if not patterns and not may_be_empty:
        raise PrincipalError("no capability was named")
    for pattern in patterns:
        try:
            parse_capability(pattern)
        except ConfigError as error:
            raise PrincipalError(error.message, hint=error.hint) from error
        if is_universal(pattern) and not unsafe_admin:
            raise PrincipalError(
                f"the capability {pattern!r} covers everything",
                code="principal.unsafe",
                hint="name what is needed, or say that you mean it: unsafe_admin",
            )
