"""What the management requests about capability tokens do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from astrid_core.domain import admin_request as api
from astrid_core.domain.capability import WILDCARD, parse_capability
from astrid_core.domain.capability_token import SignedToken
from astrid_core.domain.kernel_request import Reply
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_core.kernel.tokens import RIGHT_SCHEME, TokenStore
from astrid_hookspecs.values import Principal

Need = Callable[[str], object]


def mint(
    store: TokenStore, params: api.TokenMint, principal: Principal, *, caller: Principal, need: Need
) -> Reply:
    """Make a token. A right can be handed on by who holds it, and by nobody else."""
    if params.resource.startswith(RIGHT_SCHEME):
        need(_right(params.resource.removeprefix(RIGHT_SCHEME)))
    made = store.mint(
        principal,
        params.resource,
        params.permissions,
        by=caller,
        life_s=params.life_secs,
        single_use=params.single_use,
    )
    if params.keep:
        store.add(made)
        return Reply("Success", row(made))
    return Reply("Success", {**row(made), "token": made.to_text()})


def add(store: TokenStore, params: api.TokenAdd, *, caller: Principal) -> Reply:
    """Keep a token that the caller was handed."""
    return Reply("Success", row(store.add_text(params.token, principal=caller)))


def revoke(store: TokenStore, params: api.TokenRevoke, *, caller: Principal) -> Reply:
    """Revoke a token and all that were derived from it."""
    known = store.revoke(params.id, by=caller, reason=params.reason)
    return Reply("Success", {"id": str(params.id), "known": known})


def revoke_all(store: TokenStore, principal: Principal, *, caller: Principal) -> int:
    """Revoke what a deleted principal has, so that nobody who gets the name has it again [D-23].

    Returns:
        How many there were.
    """
    found = {signed.token.id for signed in store.usable(principal)}
    for token in found:
        store.revoke(token, by=caller, reason="the principal was deleted")
    return len(found)


def listed(store: TokenStore, principal: Principal) -> Reply:
    """The tokens of a principal that are worth something now; never their proofs."""
    return Reply("Tokens", [row(signed) for signed in store.usable(principal)])


def row(signed: SignedToken) -> Mapping[str, Any]:
    """What may be shown of a token: everything but its proof."""
    token = signed.token
    patterns = [token.resource, *(c.resource for c in signed.caveats if c.resource is not None)]
    return {
        "id": str(token.id),
        "principal": token.principal,
        "resources": patterns,
        "permissions": list(signed.permissions()),
        "issued_at": token.issued_at,
        "expires_at": signed.ends_at(),
        "scope": token.scope,
        "single_use": signed.is_single_use(),
        "caveats": len(signed.caveats),
    }


def _right(text: str) -> str:
    """A right, or a pattern of rights that covers the same as a capability and as a resource."""
    parse_capability(text)
    if WILDCARD in text.split(":")[:-1]:
        raise PrincipalError(
            f"in a token, '*' can only end a right: {text!r}",
            code="principal.invalid-argument",
            hint="'*' covers any number of segments there",
        )
    return text
