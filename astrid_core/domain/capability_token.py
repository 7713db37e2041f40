"""Capability tokens: a signed permission for one principal, and narrower ones made from it offline.

A token is signed by the kernel's key. Its signature is also a secret: whoever holds the token can
derive a narrower one without the kernel, by adding a caveat and replacing the signature with a
keyed hash of it. The kernel alone can sign the original again (Ed25519 is deterministic), so it can
check the chain of hashes, and nobody can take a caveat away. See ADR 0007.
Spec: kernel-and-security 7.1, vectors 97 to 101.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import uuid
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from blake3 import blake3

from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import is_principal

Permission = Literal["read", "write", "execute", "delete", "invoke", "list", "create"]
Scope = Literal["session", "persistent"]
Signer = Callable[[bytes], bytes]

VERSION: Final = b"\x02"
KEY_BYTES: Final = 32
MAX_CAVEATS: Final = 16
MAX_TEXT: Final = 16 * 1024
PREFIX: Final = "astrid-token-1."
SKEW_S: Final = 30
"""How far in the future a token may have been issued, for clocks that disagree. An end is an end:
there is no skew for it [D-40]."""
_CAVEAT_CONTEXT: Final = "astrid 2026-11 token caveat"


class TokenError(AstridError):
    """A token cannot be used.

    Codes: `token.malformed`, `.signature`, `.expired`, `.not-yet`, `.revoked`, `.used`,
    `.not-found`, `.wider`, `.too-many`.
    """

    default_code = "token.malformed"


class Caveat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a narrower token allows; None keeps what there was.

    Attributes:
        resource: A pattern that has to cover the resource as well.
        permissions: Those that are left.
        expires_at: Unix seconds; the earliest end counts.
        principal: The only one that may use it.
        single_use: True for one use only.
    """

    resource: str | None = None
    permissions: tuple[Permission, ...] | None = None
    expires_at: int | None = None
    principal: str | None = None
    single_use: bool = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A permission as it was signed. Times are unix seconds.

    Attributes:
        id: Of the token; narrower ones share it.
        resource: A `ResourcePattern`.
        permissions: What may be done with it.
        issued_at: When.
        expires_at: From when on it is worth nothing; None for no end.
        scope: `session` ends with the kernel's process.
        issuer: Public key of the kernel that signed it.
        user_id: First 8 bytes of a public key.
        approval_audit_id: The approval it came from.
        single_use: Whether the first use is the last.
        principal: Who may use it.
    """

    id: uuid.UUID
    resource: str
    permissions: tuple[Permission, ...]
    issued_at: int
    expires_at: int | None
    scope: Scope
    issuer: bytes
    user_id: bytes
    approval_audit_id: uuid.UUID
    single_use: bool
    principal: str

    def signing_bytes(self) -> bytes:
        """What the signature covers, version 2."""
        return b"".join(
            (
                VERSION,
                _sized(self.id.bytes),
                _sized(self.resource.encode()),
                len(self.permissions).to_bytes(4, "little"),
                *(_sized(name.encode()) for name in self.permissions),
                _i64(self.issued_at),
                b"\0" if self.expires_at is None else b"\x01" + _i64(self.expires_at),
                _sized(self.scope.encode()),
                self.issuer,
                self.user_id,
                _sized(self.approval_audit_id.bytes),
                b"\x01" if self.single_use else b"\0",
                _sized(self.principal.encode()),
            )
        )

    def content_hash(self) -> str:
        """BLAKE3 of the signing bytes, in hex."""
        return blake3(self.signing_bytes()).hexdigest()


class SignedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token with its proof: the kernel's signature, or the last hash of a chain of caveats."""

    token: Token
    caveats: tuple[Caveat, ...] = ()
    proof: bytes

    def attenuate(self, caveat: Caveat) -> SignedToken:
        """A narrower token. Needs no key and cannot be undone by who receives it.

        Raises:
            TokenError: `token.wider`: the caveat allows what this token does not, or allows
                nothing; or there are too many already.
            PatternError: Its resource is no pattern.
        """
        if len(self.caveats) == MAX_CAVEATS:
            raise TokenError(f"a token has at most {MAX_CAVEATS} caveats", code="token.wider")
        left = set(self.permissions())
        if caveat.permissions is not None and not left.issuperset(caveat.permissions):
            more = sorted(set(caveat.permissions) - left)
            raise TokenError(f"this token does not allow {more[0]!r}", code="token.wider")
        if caveat.permissions == ():
            raise TokenError("a token without permissions is of no use", code="token.wider")
        if caveat.principal not in (None, *self.principals()):
            raise TokenError(
                f"this token is for {self.principals()[-1]!r} only", code="token.wider"
            )
        if caveat.resource is not None:
            ResourcePattern(caveat.resource)
        return SignedToken(
            token=self.token,
            caveats=(*self.caveats, caveat),
            proof=_next_proof(self.proof, caveat),
        )

    def permissions(self) -> tuple[Permission, ...]:
        """What is left after all caveats."""
        left = self.token.permissions
        for caveat in self.caveats:
            if caveat.permissions is not None:
                left = tuple(name for name in left if name in caveat.permissions)
        return left

    def principals(self) -> tuple[str, ...]:
        """Who may use it: everybody named has to be the one who does."""
        named = (caveat.principal for caveat in self.caveats)
        return (self.token.principal, *(one for one in named if one is not None))

    def ends_at(self) -> int | None:
        """The earliest end, in unix seconds."""
        ends = [self.token.expires_at, *(caveat.expires_at for caveat in self.caveats)]
        return min((end for end in ends if end is not None), default=None)

    def is_single_use(self) -> bool:
        """Whether the first use is the last."""
        return self.token.single_use or any(caveat.single_use for caveat in self.caveats)

    def check(self, *, sign: Signer, issuer: bytes, now: float) -> None:
        """Check the proof and the times.

        Args:
            sign: Signs with the key of `issuer`.
            issuer: Public key of this kernel: a token of another one is worth nothing here [D-42].
            now: Unix seconds.

        Raises:
            TokenError: `token.signature`, `.expired` or `.not-yet`.
        """
        proof = sign(self.token.signing_bytes())
        for caveat in self.caveats:
            proof = _next_proof(proof, caveat)
        if self.token.issuer != issuer or not hmac.compare_digest(proof, self.proof):
            raise TokenError("the token was not made by this kernel", code="token.signature")
        end = self.ends_at()
        if end is not None and now >= end:
            raise TokenError("the token has expired", code="token.expired")
        if self.token.issued_at > now + SKEW_S:
            raise TokenError("the token was issued in the future", code="token.not-yet")

    def covers(self, principal: str, resource: str, permission: str) -> bool:
        """Whether it allows this, its proof and times apart."""
        patterns = [self.token.resource, *(c.resource for c in self.caveats if c.resource)]
        return (
            all(principal == one for one in self.principals())
            and permission in self.permissions()
            and all(ResourcePattern(pattern).matches(resource) for pattern in patterns)
        )

    def to_text(self) -> str:
        """The form that is handed on; whoever has it can use it."""
        data = _encode(
            {"token": _to_json(self.token), "caveats": self.caveats, "proof": self.proof}
        )
        return PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")


def parse_token(text: str) -> SignedToken:
    """Read the text form of a token; its proof is not checked.

    Raises:
        TokenError: `token.malformed`.
    """
    if len(text) > MAX_TEXT or not text.startswith(PREFIX):
        raise TokenError(f"a token begins with {PREFIX!r} and is at most {MAX_TEXT} characters")
    body = text.removeprefix(PREFIX)
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        form = msgspec.json.decode(data, type=_TextForm)
        found = SignedToken(token=_from_json(form.token), caveats=form.caveats, proof=form.proof)
    except (binascii.Error, msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise TokenError("the token is damaged") from error
    if len(found.caveats) > MAX_CAVEATS or found.to_text() != text:
        raise TokenError("the token is damaged")
    return found


def parse_record(data: bytes) -> SignedToken:
    """Read a stored token: the JSON of the reference, signature last.

    Raises:
        TokenError: `token.malformed`.
    """
    try:
        stored = msgspec.json.decode(data, type=_Json)
        return SignedToken(
            token=_from_json(stored), proof=base64.b64decode(stored.signature or "", validate=True)
        )
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise TokenError("a stored token is damaged") from error


def to_record(signed: SignedToken) -> bytes:
    """The stored form of a token without caveats."""
    form = _to_json(signed.token)
    return _encode(msgspec.structs.replace(form, signature=base64.b64encode(signed.proof).decode()))


class _Json(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: uuid.UUID
    resource: str
    permissions: tuple[Permission, ...]
    issued_at: str
    expires_at: str | None
    scope: Scope
    issuer: str
    user_id: tuple[int, ...]
    approval_audit_id: uuid.UUID
    single_use: bool = False
    principal: str
    signature: str | None = None


class _TextForm(msgspec.Struct, frozen=True, kw_only=True):
    token: _Json
    caveats: tuple[Caveat, ...]
    proof: bytes


_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


def _to_json(token: Token) -> _Json:
    return _Json(
        id=token.id,
        resource=token.resource,
        permissions=token.permissions,
        issued_at=_time_text(token.issued_at),
        expires_at=None if token.expires_at is None else _time_text(token.expires_at),
        scope=token.scope,
        issuer=base64.b64encode(token.issuer).decode(),
        user_id=tuple(token.user_id),
        approval_audit_id=token.approval_audit_id,
        single_use=token.single_use,
        principal=token.principal,
    )


def _from_json(form: _Json) -> Token:
    issuer, user_id = base64.b64decode(form.issuer, validate=True), bytes(form.user_id)
    if len(issuer) != KEY_BYTES or len(user_id) != len(b"8 bytes.") or not form.permissions:
        raise ValueError
    if not is_principal(form.principal):
        raise ValueError
    return Token(
        id=form.id,
        resource=form.resource,
        permissions=form.permissions,
        issued_at=_unix(form.issued_at),
        expires_at=None if form.expires_at is None else _unix(form.expires_at),
        scope=form.scope,
        issuer=issuer,
        user_id=user_id,
        approval_audit_id=form.approval_audit_id,
        single_use=form.single_use,
        principal=form.principal,
    )


def _next_proof(proof: bytes, caveat: Caveat) -> bytes:
    key = blake3(proof, derive_key_context=_CAVEAT_CONTEXT).digest()
    return blake3(_encode(caveat), key=key).digest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def _i64(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


def _time_text(unix: int) -> str:
    return dt.datetime.fromtimestamp(unix, dt.UTC).isoformat().replace("+00:00", "Z")


def _unix(text: str) -> int:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return int(moment.timestamp())
