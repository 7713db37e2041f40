"""Links that the operator's configuration lists: made at boot, without stopping it.

Only the runtime home's own configuration may list them: a project could otherwise give a stranger's
account the rights of a user. Spec: kernel-and-security 6.5, 16 D-38.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from uuid import UUID

from loguru import logger

from astrid_core.config.settings import LinkSettings
from astrid_core.domain.identity import IdentityError, User
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_hookspecs.errors import AstridError


def link_configured(
    links: Iterable[LinkSettings], *, identities: IdentityStore
) -> list[AstridError]:
    """Make the links that are not there yet; users known by a display name are made as well.

    Args:
        links: In the order in which they are made; a later one for the same account wins.
        identities: Where they go.

    Returns:
        Why some could not be made; each is logged, and the others are made all the same.
    """
    problems: list[AstridError] = []
    for link in links:
        try:
            _link(link, identities)
        except AstridError as error:
            logger.warning(
                "the configured link of {}/{} is left out: {}", link.platform, link.account, error
            )
            problems.append(error)
    return problems


def _link(link: LinkSettings, identities: IdentityStore) -> None:
    present = identities.resolve(link.platform, link.account)
    user = _user(link.user, identities)
    if present is not None and present.id == user.id:
        return
    identities.link(link.platform, link.account, user.id, method=link.method)


def _user(named: str, identities: IdentityStore) -> User:
    with contextlib.suppress(ValueError):
        user_id = str(UUID(named))
        found = identities.user(user_id)
        if found is None:
            raise IdentityError(
                f"there is no user {user_id!r}",
                code="identity.user-not-found",
                hint="name the user by its display name to have it made",
            )
        return found
    return identities.find(named) or identities.create_user(named)
