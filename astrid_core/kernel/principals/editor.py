"""Writes profiles and groups: checked whole before they are written, in one step, one at a time.

Trusted with the files that say who may do what. A change that the reader would refuse, or that
would leave nobody who can undo it, is not written.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from astrid_core.domain.capability import Group, decide
from astrid_core.domain.profile import Profile, parse_groups, parse_profile
from astrid_core.domain.toml_edit import TomlValue, set_keys
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_core.kernel.principals.group_store import FILE_NAME
from astrid_core.kernel.profiles import with_owner_group
from astrid_hookspecs.errors import AstridError, ConfigError, StoreError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal, is_principal

_Parsed = TypeVar("_Parsed")

RIGHTS_TO_REPAIR: Final = ("agent:modify", "caps:grant", "group:modify")
"""Whoever holds all of these can give every right back."""


class PrincipalFiles:
    """The files below `etc/` that say who may do what, and the one lock for changes to them.

    Args:
        etc: `etc/` of the runtime home.
        authority: Reads the same files.
    """

    def __init__(self, etc: Path, authority: Authority) -> None:
        self._etc = etc
        self._authority = authority
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Keep every other change out, for steps that belong together."""
        with self._lock:
            yield

    def principals(self) -> list[Principal]:
        """Principals that have a profile, sorted; files with other names are left out."""
        try:
            names = [entry.stem for entry in (self._etc / "profiles").glob("*.toml")]
        except OSError as error:
            raise _unwritable("etc/profiles", error) from error
        return [Principal(name) for name in sorted(names) if is_principal(name)]

    def has_profile(self, principal: Principal) -> bool:
        """Whether the principal has a profile of its own."""
        return self._profile_path(principal).is_file()

    def edit_profile(
        self,
        principal: Principal,
        changes: Mapping[str, TomlValue | None],
        *,
        table: Sequence[str] = (),
        heading: str | None = None,
    ) -> Profile:
        """Change keys of a profile; the file is made when there is none.

        Args:
            principal: Whose.
            changes: New values; None removes the key.
            table: The table they are in, `quotas` for instance.
            heading: A comment for the first line, without `#`.

        Returns:
            The profile as it is now.

        Raises:
            PrincipalError: `.invalid-profile`, or `.lock-out`: nobody could undo it.
            ConfigError: The present file cannot be read or changed.
            StoreError: `principal.write`.
        """
        path = self._profile_path(principal)
        with self._lock:
            text = set_keys(self._text(path), changes, table=table)
            if heading is not None:
                text = f"# {heading}\n{text}"
            shown = f"etc/profiles/{principal}.toml"
            profile = _checked(lambda: parse_profile(text, path=shown))
            profile = with_owner_group(principal, profile)
            self._check_repairable(self._authority.groups.groups(), {principal: profile})
            self._write(path, text)
            return profile

    def remove_profile(self, principal: Principal) -> None:
        """Undo the creation of a profile."""
        with self._lock:
            self._profile_path(principal).unlink(missing_ok=True)

    def edit_groups(self, change: Callable[[str], str]) -> None:
        """Change the group file.

        Args:
            change: From the present text to the new one.

        Raises:
            PrincipalError: `.invalid-profile` or `.lock-out`.
            ConfigError: The present file cannot be read or changed.
            StoreError: `principal.write`.
        """
        with self._lock:
            text = change(self._authority.groups.text())
            groups = _checked(lambda: parse_groups(text, path=f"etc/{FILE_NAME}"))
            self._check_repairable(groups, {})
            self._write(self._etc / FILE_NAME, text)

    def _check_repairable(
        self, groups: Mapping[str, Group], changed: Mapping[Principal, Profile]
    ) -> None:
        """Refuse what leaves no enabled principal that could undo it. Spec: 16 D-24."""
        for principal in {DEFAULT_PRINCIPAL, *self.principals(), *changed}:
            profile = changed.get(principal)
            if profile is None:
                with contextlib.suppress(ConfigError):  # a damaged profile is nobody's right
                    profile = self._authority.profiles.profile(principal)
            if profile is not None and all(
                decide(profile, right, groups=groups).is_allowed for right in RIGHTS_TO_REPAIR
            ):
                return
        raise PrincipalError(
            "this change would leave no enabled principal that can change rights",
            code="principal.lock-out",
            hint="put another principal into the group admin first",
        )

    def _profile_path(self, principal: Principal) -> Path:
        return self._etc / "profiles" / f"{principal}.toml"

    @staticmethod
    def _text(path: Path) -> str:
        try:
            return path.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise _unwritable(f"etc/profiles/{path.name}", error) from error

    @staticmethod
    def _write(path: Path, text: str) -> None:
        try:
            write_atomic(path, text.encode())
        except OSError as error:
            raise _unwritable(f"etc/{path.name}", error) from error


def _checked(parse: Callable[[], _Parsed]) -> _Parsed:
    try:
        return parse()
    except AstridError as error:
        raise PrincipalError(
            error.message, code="principal.invalid-profile", hint=error.hint
        ) from error


def _unwritable(shown: str, error: OSError | UnicodeDecodeError) -> StoreError:
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreError(
        f"{shown} cannot be used: {reason}",
        code="principal.write",
        hint="check the permissions of the runtime home and the free space",
    )
