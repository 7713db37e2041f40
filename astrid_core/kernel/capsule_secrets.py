"""Secrets of capsules: which scope of the secret store a guest's key is looked up and kept in.

Trusted with separation: a guest reaches the secrets of its own capsule for the principal it acts
for and, behind them, those that the operator set for everybody.
Spec: kernel-and-security 9.3, 9.4, 16 D-30, D-61, D-62.
"""

from __future__ import annotations

from typing import Final

from astrid_hookspecs.errors import SecretError
from astrid_hookspecs.secrets import SecretStore
from astrid_hookspecs.values import CapsuleId, Principal

EVERYBODY: Final = "__host__"
"""No principal has such a name."""


class CapsuleSecrets:
    """The secrets of one home, by principal, capsule and key.

    Args:
        store: Where they are.
    """

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def find(self, principal: Principal, capsule: CapsuleId, key: str) -> str | None:
        """The principal's secret, else everybody's; None when there is neither.

        Raises:
            SecretError: The store failed, or holds something that is no text.
        """
        for who in (principal, EVERYBODY):
            value = self._store.get(f"{who}/{capsule}", key)
            if value:
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    break
        else:
            return None
        raise SecretError(f"the secret {key!r} of capsule {capsule!r} is no text")

    def keep(self, principal: Principal, capsule: CapsuleId, key: str, text: str) -> None:
        """Create or replace the principal's secret.

        Raises:
            SecretError: It was not kept.
        """
        self._store.set(f"{principal}/{capsule}", key, text.encode())
