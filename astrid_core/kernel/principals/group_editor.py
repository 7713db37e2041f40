"""Groups as the management API changes them. Spec: kernel-and-security 4.4, 5.4, 16 D-28, D-29."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from astrid_core.domain.capability import BUILTIN_GROUPS, Group
from astrid_core.domain.toml_edit import TomlValue, remove_table, set_keys
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.editor import PrincipalFiles
from astrid_core.kernel.principals.errors import PrincipalError


class GroupEditor:
    """Makes, changes and removes groups; the built-in ones are fixed. Safe from any thread.

    Args:
        files: Writes the group file.
        authority: Reads it.
    """

    def __init__(self, files: PrincipalFiles, *, authority: Authority) -> None:
        self._files = files
        self._authority = authority

    def groups(self) -> Mapping[str, Group]:
        """Every group, the built-in ones first."""
        return self._authority.groups.groups()

    def create(
        self,
        name: str,
        *,
        capabilities: Sequence[str],
        description: str = "",
        unsafe_admin: bool = False,
    ) -> None:
        """Make a group.

        Raises:
            PrincipalError: `.reserved`: it is built in; `.exists`; `.invalid-profile`: its name, a
                capability, or a universal one without `unsafe_admin`.
            StoreError: It could not be written.
        """
        with self._files.changing():
            _check_not_built_in(name)
            if name in self.groups():
                raise PrincipalError(
                    f"there is a group {name!r} already",
                    code="principal.exists",
                    hint="`astrid group modify` changes it",
                )
            values: dict[str, TomlValue | None] = {
                "capabilities": list(capabilities),
                "description": description or None,
                "unsafe_admin": unsafe_admin or None,
            }
            self._files.edit_groups(lambda text: set_keys(text, values, table=["groups", name]))

    def modify(
        self,
        name: str,
        *,
        capabilities: Sequence[str] | None = None,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        description: str | None = None,
        unsafe_admin: bool | None = None,
    ) -> None:
        """Change what is given, and keep the rest.

        Args:
            name: Of the group.
            capabilities: A whole new list.
            add: Capabilities to add to the list.
            remove: Capabilities to take out of it before.
            description: A new one; an empty one removes it.
            unsafe_admin: Whether members may have a capability that covers everything.

        Raises:
            PrincipalError: `.not-found`, and as `create`; `.lock-out`.
            StoreError: It could not be written.
        """
        with self._files.changing():
            self._check_exists(name)
            changes: dict[str, TomlValue | None] = {}
            if capabilities is not None or add or remove:
                present = self.groups()[name].capabilities if capabilities is None else capabilities
                kept = [one for one in present if one not in remove]
                changes["capabilities"] = [*kept, *(one for one in add if one not in kept)]
            if description is not None:
                changes["description"] = description or None
            if unsafe_admin is not None:
                changes["unsafe_admin"] = unsafe_admin
            self._files.edit_groups(lambda text: set_keys(text, changes, table=["groups", name]))

    def delete(self, name: str) -> None:
        """Remove a group; principals that name it lose what it gave.

        Raises:
            PrincipalError: `.not-found`, `.reserved`, `.lock-out`.
            StoreError: It could not be written.
        """
        with self._files.changing():
            self._check_exists(name)
            self._files.edit_groups(lambda text: remove_table(text, ["groups", name]))

    def _check_exists(self, name: str) -> None:
        _check_not_built_in(name)
        if name not in self.groups():
            raise PrincipalError(
                f"there is no group {name[:80]!r}",
                code="principal.not-found",
                hint="`astrid group list` shows which there are",
            )


def _check_not_built_in(name: str) -> None:
    if name in BUILTIN_GROUPS:
        raise PrincipalError(
            f"the group {name!r} is built in and cannot be changed",
            code="principal.reserved",
            hint="make a group of your own",
        )
