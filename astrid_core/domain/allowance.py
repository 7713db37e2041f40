"""Allowances: an agreement that covers actions for a while, for a number of uses, or for good.

Trusted with one rule for when an allowance counts. There is no signature in it; one that holds for
good counts only while a token says the same, which the kernel signed and can revoke [D-43].
Spec: kernel-and-security 7.3, vectors 111 to 115.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final

import msgspec

from astrid_core.domain.action import Action
from astrid_core.domain.allowance_pattern import ActionPattern
from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import is_principal


class AllowanceError(AstridError):
    """An allowance cannot be what it says.

    Codes: `allowance.invalid`, `allowance.damaged`, `allowance.not-found`.
    """

    default_code = "allowance.invalid"


class Allowance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agreement. Times are Unix seconds.

    Attributes:
        id: Of the allowance.
        principal: The only one it is for.
        action_pattern: What it covers.
        created_at: When.
        expires_at: From when on it covers nothing; None for no end.
        max_uses: How often it may be used in all; None for any number.
        uses_remaining: How often it may still be used; None exactly when `max_uses` is.
        session_only: Whether it ends with the last client of its principal, or with the process.
        workspace_root: The only workspace it is for; None for any.
    """

    id: uuid.UUID
    principal: str
    action_pattern: ActionPattern
    created_at: int
    expires_at: int | None = None
    max_uses: int | None = None
    uses_remaining: int | None = None
    session_only: bool = False
    workspace_root: str | None = None

    def covers(self, action: Action, *, principal: str, root: str | None, now: float) -> bool:
        """Whether it allows an action.

        Args:
            action: What is wanted.
            principal: Who wants it.
            root: The workspace, or None.
            now: Unix seconds.
        """
        if principal != self.principal or not self.is_live(now=now):
            return False
        if self.workspace_root is not None and self.workspace_root != root:
            return False
        return self.action_pattern.covers(action, root=root)

    def is_live(self, *, now: float) -> bool:
        """Whether it can still be used."""
        return self.uses_remaining != 0 and (self.expires_at is None or now < self.expires_at)

    def used(self) -> Allowance:
        """What is left after one use."""
        if self.uses_remaining is None:
            return self
        return msgspec.structs.replace(self, uses_remaining=self.uses_remaining - 1)

    @property
    def is_for_good(self) -> bool:
        """Whether nothing but taking it back ends it."""
        return not self.session_only and self.expires_at is None and self.max_uses is None

    @property
    def rule(self) -> str:
        """How decisions and the audit log name it."""
        return f"allowance:{self.id}"


def covering(
    allowances: Iterable[Allowance], action: Action, *, principal: str, root: str | None, now: float
) -> Allowance | None:
    """The first allowance that allows an action, None when none does; as `Allowance.covers`."""
    return next(
        (one for one in allowances if one.covers(action, principal=principal, root=root, now=now)),
        None,
    )


def check_allowance(allowance: Allowance) -> Allowance:
    """Refuse what could never be meant.

    Raises:
        AllowanceError: `allowance.invalid`: the principal is none, or the uses make no sense.
        PatternError: A text of its pattern is no resource pattern.
    """
    if not is_principal(allowance.principal):
        raise AllowanceError(f"{allowance.principal[:80]!r} is not a principal id")
    most, left = allowance.max_uses, allowance.uses_remaining
    if (most is None) != (left is None) or not 0 <= (left or 0) <= (most or 0):
        raise AllowanceError("the remaining uses of an allowance are between 0 and all of them")
    for text in allowance.action_pattern.globs():
        ResourcePattern(text)
    return allowance


def parse_allowance(data: bytes) -> Allowance:
    """Read a stored allowance.

    Raises:
        AllowanceError: `allowance.damaged`.
    """
    try:
        return check_allowance(_decode(data))
    except (msgspec.MsgspecError, ValueError, AstridError) as error:
        raise AllowanceError("a stored allowance is damaged", code="allowance.damaged") from error


def format_allowance(allowance: Allowance) -> bytes:
    """The stored form, JSON."""
    return _encode(allowance)


_decode: Final = msgspec.json.Decoder(Allowance).decode
_encode: Final = msgspec.json.Encoder().encode
