"""Host functions of `astrid:elicit@1.0.0` that need no person: whether a secret is there.

Asking people is answered by `unavailable`. Spec: host-abi 4.
"""

from __future__ import annotations

from astrid_core.host.handlers import HostPackage, handles
from astrid_hookspecs.engines import WitError


class ElicitHost(HostPackage):
    """The function `has-secret`."""

    interface = "astrid:elicit/host@1.0.0"
    denied_case = "store-unavailable"

    @handles("has-secret")
    def has_secret(self, key: str) -> bool:
        """Whether the secret store has the key for the effective principal; never its value."""
        if not key or ":" in key or not key.isprintable():
            raise WitError("invalid-input")
        lookup = self.instance.services.secrets
        if lookup is None:
            return False
        return bool(lookup(self.instance.principal, self.instance.context.id, key))
