"""Users and their accounts on platforms: the records, and the rules their fields obey.

Pure. Trusted with who speaks when a message comes from an account: names are compared in one form
only, and no display name can make somebody the owner. Spec: kernel-and-security 6, 16 D-30, D-36.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import msgspec

from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

MAX_PRINCIPAL: Final = 64
MAX_NAME: Final = 256
_FOREIGN: Final = re.compile(r"[^a-z0-9_-]")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person, or an agent with an account.

    Attributes:
        id: UUID text.
        principal: For whom it acts; old records have none and mean the owner.
        public_key: Base64 of 32 bytes, or None.
        display_name: As given, or None.
        created_at: RFC 3339 in UTC.
    """

    id: str
    principal: str = DEFAULT_PRINCIPAL
    public_key: str | None = None
    display_name: str | None = None
    created_at: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An account on a platform that belongs to a user.

    Attributes:
        platform: In the form of `platform_name`.
        platform_user_id: As the platform writes it.
        astrid_user_id: UUID text of the user.
        linked_at: RFC 3339 in UTC.
        method: Who vouches for it: `system`, `admin`, ...
    """

    platform: str
    platform_user_id: str
    astrid_user_id: str
    linked_at: str
    method: str


class IdentityError(ConfigError):
    """A user or a link cannot be made, found or changed: `identity.*`."""

    default_code = "identity.invalid"


def platform_name(text: str) -> str:
    """The form in which a platform is stored and compared: trimmed, lower case.

    Raises:
        IdentityError: `identity.platform`.
    """
    name = text.strip().lower()
    if not _is_key_part(name):
        raise IdentityError(
            f"{text[:MAX_PRINCIPAL]!r} is not the name of a platform",
            code="identity.platform",
            hint="use a name such as telegram, without '/'",
        )
    return name


def account_id(text: str) -> str:
    """An id on a platform, unchanged: platforms decide about blanks and case.

    Raises:
        IdentityError: `identity.account`.
    """
    if not text.strip() or not _is_key_part(text):
        raise IdentityError(
            f"{text[:MAX_PRINCIPAL]!r} is not a user id of a platform",
            code="identity.account",
            hint="it has 1 to 256 characters and no '/'",
        )
    return text


def index_name(display_name: str | None) -> str | None:
    """The form in which a display name is looked up; None when it is blank.

    Raises:
        IdentityError: `identity.display-name`.
    """
    name = (display_name or "").strip()
    if not name:
        return None
    if not _is_key_part(name):
        raise IdentityError(
            f"{name[:MAX_PRINCIPAL]!r} cannot be a display name",
            code="identity.display-name",
            hint="it has at most 256 characters and no '/'",
        )
    return name


def principal_for(display_name: str | None, user: UUID) -> Principal:
    """The principal id that a display name suggests; from the user's id when it suggests none."""
    lowered = (display_name or "").translate(_ASCII_LOWER)
    parts = [part for part in _FOREIGN.sub("-", lowered).split("-") if part]
    name = "-".join(parts)[:MAX_PRINCIPAL].rstrip("-")
    return Principal(name or f"user-{user.hex[:8]}")


def is_reserved_principal(principal: str) -> bool:
    """Whether nobody can be given this id: the owner's, in any case, and the kernel's own."""
    return principal.lower() == DEFAULT_PRINCIPAL or principal.startswith("__")


_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _is_key_part(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and "/" not in text and "\0" not in text
