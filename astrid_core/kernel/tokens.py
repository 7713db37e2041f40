"""Capability tokens of this kernel: made, kept, found, used once or often, revoked.

Trusted with three promises. What is revoked stays revoked, also for tokens that come back later.
A token for one use is used once, whoever asks at the same moment, also across a restart. And
nothing is answered before it is durable. Spec: kernel-and-security 7.2, 16 D-40 to D-42, D-87.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from nacl.signing import SigningKey

from astrid_core.domain.capability_token import (
    Permission,
    Scope,
    SignedToken,
    Token,
    TokenError,
    parse_record,
    parse_token,
    to_record,
)
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.resource_pattern import PatternError, ResourcePattern
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.stores import KvStore, KvWrite
from astrid_hookspecs.values import Principal

TOKENS: Final = "caps:tokens"
INDEX: Final = "caps:token_index"
REVOKED: Final = "caps:revoked"
USED: Final = "caps:used"
MAX_LIFE_S: Final = 366 * 86_400
MAX_PER_PRINCIPAL: Final = 256
"""Tokens that are kept for one principal. Who has one derives any number from it without the
kernel, and whenever a right is missing all of them are looked at."""
_MARK: Final = b"\x01"
_PAGE: Final = 500
RIGHT_SCHEME: Final = "right://"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://")


def right_resource(right: str) -> str:
    """The resource that stands for a management capability; a token for it allows `invoke`."""
    return RIGHT_SCHEME + right


class Held(NamedTuple):
    """A token in the store, and its key there (None for one that lives in memory)."""

    signed: SignedToken
    key: str | None


class TokenStore:
    """The tokens of one home. Safe from any thread.

    Args:
        kv: The kernel's store.
        seed: Ed25519 seed of the kernel's key.
        audit: Where making and revoking is recorded, before it happens.
        now: Unix seconds.
    """

    def __init__(
        self,
        kv: KvStore,
        *,
        seed: bytes,
        audit: AuditTrail,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kv = kv
        self._key = SigningKey(seed)
        self._issuer = bytes(self._key.verify_key)
        self._audit = audit
        self._now = now
        self._lock = threading.RLock()
        self._session: dict[tuple[uuid.UUID, bytes], SignedToken] = {}

    def mint(
        self,
        principal: Principal,
        resource: str,
        permissions: Sequence[Permission],
        *,
        by: Principal,
        life_s: int | None,
        scope: Scope = "persistent",
        single_use: bool = False,
        approval: uuid.UUID | None = None,
    ) -> SignedToken:
        """Sign a token. It is not in the store yet: hand it on, or `add` it.

        Args:
            principal: Who may use it.
            resource: A pattern.
            permissions: What it allows; at least one.
            by: Who has it made, for the record.
            life_s: Seconds until it ends; None for no end.
            scope: `session` for one that ends with the last client of its principal or the process.
            single_use: Whether the first use is the last.
            approval: The approval it comes from.

        Raises:
            PatternError: The resource is no pattern, or does not begin with a scheme.
            TokenError: No permission, or a life that is over already or too long.
            AuditError: It could not be recorded; it was not made.
        """
        ResourcePattern(resource)
        if _SCHEME.match(resource) is None:  # else `*` would cover what nobody thought of
            raise PatternError(
                f"the resource {resource[:80]!r} does not begin with a scheme",
                hint="for example file:///srv/data/** or right://system:status",
            )
        if not permissions:
            raise TokenError("a token needs at least one permission", code="token.permissions")
        if life_s is not None and not 0 < life_s <= MAX_LIFE_S:
            raise TokenError(f"a token lives 1 to {MAX_LIFE_S} seconds", code="token.life")
        issued = int(self._now())
        token = Token(
            id=uuid.uuid4(),
            resource=resource,
            permissions=tuple(dict.fromkeys(permissions)),
            issued_at=issued,
            expires_at=None if life_s is None else issued + life_s,
            scope=scope,
            issuer=self._issuer,
            user_id=self._issuer[:8],
            approval_audit_id=approval or uuid.UUID(int=0),
            single_use=single_use,
            principal=principal,
        )
        self._record(
            by,
            "capability_created",
            token_id=str(token.id),
            resource=resource,
            permissions=list(token.permissions),
            scope=scope,
        )
        return SignedToken(token=token, proof=self._sign(token.signing_bytes()))

    def add(self, signed: SignedToken) -> None:
        """Keep a token for its principal, durably unless its scope is the session.

        Raises:
            TokenError: It was not made here, has ended, or was revoked; or `token.too-many`.
            StoreError: It could not be written.
        """
        self._check(signed)
        token = signed.token
        key = _key_of(signed)
        value = signed.to_text().encode() if signed.caveats else to_record(signed)
        with self._lock:
            self._make_room(Principal(token.principal), signed)
            if token.scope == "session":
                self._session[token.id, signed.proof] = signed
                return
            self._kv.apply(INDEX, [KvWrite(str(token.id), token.principal.encode())])
            self._kv.apply(TOKENS, [KvWrite(key, value)])

    def add_text(self, text: str, *, principal: Principal) -> SignedToken:
        """Keep a token that a principal was handed.

        Raises:
            TokenError: As `add`; also when it is somebody else's, which is not told apart from a
                token that was not made here.
        """
        signed = parse_token(text)
        if any(one != principal for one in signed.principals()):
            raise TokenError("the token was not made by this kernel", code="token.signature")
        self.add(signed)
        return signed

    def find(self, principal: Principal, resource: str, permission: Permission) -> Held | None:
        """A token that allows this now; one for many uses before one for a single use.

        It is not used up: `use` it when everything else has agreed.

        Raises:
            StoreError: The store cannot be read: nothing is allowed by a token then.
        """
        usable = [
            held
            for held in self._held(principal)
            if held.signed.covers(principal, resource, permission) and self._is_good(held.signed)
        ]
        return min(usable, key=lambda held: held.signed.is_single_use(), default=None)

    def use(self, held: Held) -> None:
        """Use a token that `find` found; one for a single use is used up from now on, durably.

        Raises:
            TokenError: It has ended, was revoked, or somebody was faster.
        """
        self._check(held.signed)
        if held.signed.is_single_use() and not self._kv.compare_and_swap(
            USED, str(held.signed.token.id), None, _MARK
        ):
            raise TokenError("the token is for one use, and was used", code="token.used")

    def revoke(self, token_id: uuid.UUID, *, by: Principal, reason: str = "") -> bool:
        """Make a token, and all that were derived from it, worth nothing, for ever.

        Returns:
            Whether it was in the store; unknown ids are revoked all the same.

        Raises:
            AuditError: It could not be recorded; it was not revoked.
            StoreError: It could not be written.
        """
        self._record(by, "capability_revoked", token_id=str(token_id), reason=reason)
        with self._lock:
            self._kv.apply(REVOKED, [KvWrite(str(token_id), _MARK)])
            owner = self._kv.get(INDEX, str(token_id))
            known = owner is not None
            if owner is not None:
                keys = list(self._keys(f"{owner.decode()}/{token_id}"))
                self._kv.apply(TOKENS, [KvWrite(key, None) for key in keys])
                self._kv.apply(INDEX, [KvWrite(str(token_id), None)])
            mine = [key for key in self._session if key[0] == token_id]
            for key in mine:
                del self._session[key]
            return known or bool(mine)

    def usable(self, principal: Principal | None = None) -> list[SignedToken]:
        """Tokens that are worth something now, of one principal or of all."""
        return [held.signed for held in self._held(principal) if self._is_good(held.signed)]

    def forget_session(self, principal: Principal | None = None) -> None:
        """Drop the tokens whose scope is the session, of one principal or of all."""
        with self._lock:
            self._session = {
                key: signed
                for key, signed in self._session.items()
                if principal not in (None, signed.token.principal)
            }

    def clean(self, principal: Principal | None = None) -> int:
        """Remove kept tokens that have ended, of one principal or of all; returns how many."""
        ended = [
            held.key
            for held in self._held(principal)
            if held.key is not None
            and (end := held.signed.ends_at()) is not None
            and end <= self._now()
        ]
        self._kv.apply(TOKENS, [KvWrite(key, None) for key in ended])
        return len(ended)

    def _make_room(self, principal: Principal, signed: SignedToken) -> None:
        """Refuse one token more than a principal may have; one that it has already is none more."""
        held = [one.signed for one in self._held(principal)]
        if len(held) < MAX_PER_PRINCIPAL or signed in held:
            return
        self.clean(principal)
        if sum(1 for _ in self._held(principal)) >= MAX_PER_PRINCIPAL:
            raise TokenError(
                f"{principal!r} has {MAX_PER_PRINCIPAL} tokens, the most that are kept for one",
                code="token.too-many",
                hint="revoke some; see: astrid caps token list",
            )

    def _held(self, principal: Principal | None) -> Iterator[Held]:
        """Tokens of a principal, whatever they are worth; damaged ones are worth nothing."""
        with self._lock:
            session = list(self._session.values())
        for signed in session:
            if principal in (None, signed.token.principal):
                yield Held(signed, None)
        for key in self._keys("" if principal is None else f"{principal}/"):
            value = self._kv.get(TOKENS, key)
            try:
                if value is not None:
                    yield Held(_read(value), key)
            except TokenError:
                continue

    def _is_good(self, signed: SignedToken) -> bool:
        try:
            self._check(signed)
        except TokenError:
            return False
        return not signed.is_single_use() or self._kv.get(USED, str(signed.token.id)) is None

    def _check(self, signed: SignedToken) -> None:
        signed.check(sign=self._sign, issuer=self._issuer, now=self._now())
        if self._kv.get(REVOKED, str(signed.token.id)) is not None:
            raise TokenError("the token was revoked", code="token.revoked")

    def _sign(self, data: bytes) -> bytes:
        return self._key.sign(data).signature

    def _keys(self, prefix: str) -> Iterator[str]:
        after, more = None, True
        while more:
            keys, more = self._kv.keys(TOKENS, prefix, after=after, limit=_PAGE)
            yield from keys
            after = keys[-1] if keys else None

    def _record(self, by: Principal, action: str, **facts: str | list[str]) -> None:
        entry = AuditEntry(
            timestamp=format_timestamp(time.time_ns()),
            principal=by,
            capsule=None,
            action=action,
            resource="",
            outcome="allowed",
            detail=facts,
        )
        self._audit.append(entry, durable=True)


def _key_of(signed: SignedToken) -> str:
    """`{p}/{uuid}` as in the reference; derived ones have part of their proof behind it."""
    key = f"{signed.token.principal}/{signed.token.id}"
    return f"{key}.{signed.proof[:8].hex()}" if signed.caveats else key


def _read(value: bytes) -> SignedToken:
    if value.startswith(b"{"):
        return parse_record(value)
    try:
        return parse_token(value.decode())
    except UnicodeDecodeError as error:
        raise TokenError("a stored token is damaged") from error
