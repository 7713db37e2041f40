"""The tokens behind allowances that hold for good: what "always" mints, and what it rests on.

Trusted with one promise: such an allowance counts exactly while there is a token for it that this
kernel signed and nobody revoked. The token names the allowance and the digest of its content, so an
allowance that was edited where it is stored covers nothing.
Spec: kernel-and-security 7.2, 7.5, 16 D-43.
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from astrid_core.domain.allowance import Allowance, format_allowance
from astrid_core.kernel.tokens import TokenStore
from astrid_hookspecs.values import Principal

SCHEME: Final = "allowance://"
_DIGEST_BYTES: Final = 16


class Warrants:
    """Makes, looks for and revokes them.

    Args:
        tokens: Where they are.
    """

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens

    def issue(self, allowance: Allowance, *, by: Principal) -> None:
        """Sign an allowance, durably.

        Raises:
            AuditError, StoreError: It was not signed.
        """
        signed = self._tokens.mint(
            Principal(allowance.principal),
            warrant_resource(allowance),
            ("invoke",),
            by=by,
            life_s=None,
            approval=allowance.id,
        )
        self._tokens.add(signed)

    def covers(self, allowance: Allowance) -> bool:
        """Whether there is a token for the allowance as it is.

        Raises:
            StoreError: The store cannot be read.
        """
        resource = warrant_resource(allowance)
        return any(
            signed.token.resource == resource and not signed.caveats
            for signed in self._tokens.usable(Principal(allowance.principal))
        )

    def revoke(self, allowance: Allowance) -> None:
        """Make the tokens for an allowance worth nothing.

        Raises:
            AuditError, StoreError: They are worth what they were.
        """
        principal = Principal(allowance.principal)
        for signed in self._tokens.usable(principal):
            if signed.token.resource.startswith(f"{SCHEME}{allowance.id}/"):
                self._tokens.revoke(signed.token.id, by=principal, reason="allowance removed")


def warrant_resource(allowance: Allowance) -> str:
    """What a token for an allowance names: its id, and the digest of everything it says."""
    content = format_allowance(msgspec.structs.replace(allowance, uses_remaining=None))
    digest = blake3(content).hexdigest(length=_DIGEST_BYTES)
    return f"{SCHEME}{allowance.id}/{digest}"
