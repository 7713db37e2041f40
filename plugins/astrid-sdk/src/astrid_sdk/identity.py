"""Whose account on a platform somebody is. Needs `identity` in the manifest.

Spec: astrid:identity@1.0.0.
"""

from __future__ import annotations

from typing import NamedTuple

from astrid_sdk.bindings import host_call, host_type
from astrid_sdk.errors import LinkNotFoundError


class User(NamedTuple):
    """Somebody who is known here.

    Attributes:
        id: UUID text.
        display_name: What to call them, if that is known.
    """

    id: str
    display_name: str | None


class Link(NamedTuple):
    """An account of a user.

    Attributes:
        platform: In lower case.
        account: The id there.
        linked_at: RFC 3339.
        method: How it was established.
    """

    platform: str
    account: str
    linked_at: str
    method: str


def resolve(platform: str, account: str) -> User | None:
    """The user behind an account; None when it is nobody's. Level `resolve`.

    Raises:
        IdentityError: `CapabilityDeniedError`, `InvalidInputError`, `UserNotFoundError` when the
            user is gone.
    """
    wanted = host_type("identity", "IdentityResolveRequest")(platform, account)
    try:
        found = host_call("identity", "identity_resolve", wanted)
    except LinkNotFoundError:
        return None
    return User(found.user_id, found.display_name)


def link(platform: str, account: str, user_id: str, *, method: str) -> None:
    """Say whose account it is; repeating it is fine. Level `link`.

    Raises:
        IdentityError: `AlreadyLinkedError` when it is another's, `UserNotFoundError`,
            `CapabilityDeniedError`, `InvalidInputError`.
    """
    wanted = host_type("identity", "IdentityLinkRequest")(platform, account, user_id, method)
    host_call("identity", "identity_link", wanted)


def unlink(platform: str, account: str) -> bool:
    """Forget whose account it is; whether it was anybody's. Level `link`.

    Raises:
        IdentityError: `CapabilityDeniedError`, `InvalidInputError`.
    """
    wanted = host_type("identity", "IdentityUnlinkRequest")(platform, account)
    try:
        host_call("identity", "identity_unlink", wanted)
    except LinkNotFoundError:
        return False
    return True


def create_user(display_name: str | None = None) -> str:
    """Make a user; returns the id. Level `admin`.

    Raises:
        IdentityError: `InvalidInputError` when the name is reserved or taken,
            `CapabilityDeniedError`.
    """
    wanted = host_type("identity", "IdentityCreateUserRequest")(display_name)
    return str(host_call("identity", "identity_create_user", wanted).user_id)


def links(user_id: str) -> list[Link]:
    """The accounts of a user, by platform and id. Level `link`.

    Raises:
        IdentityError: `UserNotFoundError`, `CapabilityDeniedError`, `InvalidInputError`.
    """
    found = host_call("identity", "identity_list_links", user_id)
    return [Link(one.platform, one.platform_user_id, one.linked_at, one.method) for one in found]
