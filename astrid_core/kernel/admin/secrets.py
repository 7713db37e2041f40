"""What the management requests about secrets do. No answer of theirs holds a value."""

from __future__ import annotations

from typing import Final

from astrid_core.domain import admin_request as api
from astrid_core.domain.kernel_request import Reply
from astrid_core.kernel.capsule_secrets import EVERYBODY
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_core.kernel.secret_stores import HomeSecrets
from astrid_hookspecs.errors import SecretError, SecretNotFoundError
from astrid_hookspecs.values import Principal, parse_capsule_id

_SCOPES: Final = {False: "agent", True: "shared"}


def put(store: HomeSecrets | None, params: api.SecretSet, principal: Principal) -> Reply:
    """Create or replace a secret.

    Raises:
        PrincipalError: The key or the value is none that can be kept.
        SecretError: There is no store, or it is locked.
    """
    if ":" in params.key:  # Spec: kernel-and-security 9.3
        raise PrincipalError("a key has no ':'", code="secret.name")
    if not params.value:
        raise PrincipalError("a secret is not empty", code="secret.size")
    scope = _scope(principal, params.capsule, shared=params.shared)
    used = _needed(store)
    used.set(scope, params.key, params.value.encode())
    return Reply("Success", {"key": params.key, "capsule": params.capsule, "storage": used.name})


def delete(store: HomeSecrets | None, params: api.SecretDelete, principal: Principal) -> Reply:
    """Remove a secret.

    Raises:
        SecretNotFoundError: There is none.
        SecretError: There is no store, or it is locked.
    """
    scope = _scope(principal, params.capsule, shared=params.shared)
    if not _needed(store).delete(scope, params.key):
        raise SecretNotFoundError(
            f"capsule {params.capsule!r} has no secret {params.key!r} for {principal}",
            hint="astrid secret list",
        )
    return Reply("Success", {"key": params.key, "capsule": params.capsule})


def listed(store: HomeSecrets | None, principal: Principal) -> Reply:
    """Names of a principal's secrets, and of those that everybody shares."""
    rows = []
    for scope in () if store is None else store.scopes():
        who, _, capsule = scope.partition("/")
        if store is not None and who in (principal, EVERYBODY):
            rows += [
                {
                    "capsule": capsule,
                    "key": key,
                    "storage": store.name,
                    "scope": _SCOPES[who == EVERYBODY],
                }
                for key in store.names(scope)
            ]
    return Reply("Secrets", sorted(rows, key=lambda row: (row["capsule"], row["key"])))


def migrate(store: HomeSecrets | None, params: api.SecretMigrate) -> Reply:
    """Move every secret to another store."""
    used = _needed(store)
    before = used.name
    return Reply("Success", {"moved": used.move_to(params.to), "from": before, "to": used.name})


def forget(store: HomeSecrets | None, principal: Principal) -> int:
    """Remove what a deleted principal had, so that nobody who gets the name has it again.

    Returns:
        How many there were.
    """
    count = 0
    for scope in () if store is None else store.scopes():
        if store is not None and scope.startswith(f"{principal}/"):
            count += sum(store.delete(scope, key) for key in store.names(scope))
    return count


def _scope(principal: Principal, capsule: str, *, shared: bool) -> str:
    return f"{EVERYBODY if shared else principal}/{parse_capsule_id(capsule)}"


def _needed(store: HomeSecrets | None) -> HomeSecrets:
    if store is None:
        raise SecretError(
            "there is no secret store",
            code="secret.no-store",
            hint="run: pip install astrid-secrets-keychain",
        )
    return store
