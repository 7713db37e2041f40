"""The first exchange on a local connection: who may talk to this side, and for whom.

Pure. Trusted with the order of the checks (shape, version, token, principal), with comparing tokens
in constant time, and with saying the same about every token that is wrong.
Spec: kernel-and-security 3.4, 16 D-12.
"""

from __future__ import annotations

import hmac
import re
from typing import Annotated, Final, NamedTuple

import msgspec

from astrid_core.domain.framing import PROTOCOL_VERSION
from astrid_hookspecs.errors import RemoteProtocolError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal, is_principal

TOKEN_BYTES: Final = 32
MAX_CLIENT_VERSION: Final = 64
AUTHENTICATION_FAILED: Final = "authentication failed"

_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{64}")


class Hello(msgspec.Struct, frozen=True):
    """What a client says first. Unknown keys are ignored.

    Attributes:
        token: 64 hex digits of either case, if it is right.
        protocol_version: 0 to 255.
        client_version: For the log.
        principal: For whom the connection acts; absent for the owner's own.
    """

    token: str
    protocol_version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    client_version: str
    principal: str | None = None


class Verdict(NamedTuple):
    """The answer to a hello.

    Attributes:
        principal: For whom the connection acts; None when it was refused.
        reason: Why it was refused; empty on success. Clients receive it.
    """

    principal: Principal | None
    reason: str = ""


_decode: Final = msgspec.json.Decoder(Hello).decode
_encode: Final = msgspec.json.Encoder().encode


def parse_hello(body: bytes) -> Hello:
    """Read a client's first frame.

    Raises:
        RemoteProtocolError: `protocol.hello`: not JSON, a key is missing, or one has the wrong
            type. The connection is closed without an answer.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(
            "the first frame is no handshake", code="protocol.hello"
        ) from error


def check_hello(hello: Hello, *, token: bytes) -> Verdict:
    """Decide about a client.

    Args:
        hello: What it said.
        token: Of this boot, 32 bytes.
    """
    if hello.protocol_version != PROTOCOL_VERSION:
        return Verdict(
            None,
            f"the client speaks protocol version {hello.protocol_version}, "
            f"this side version {PROTOCOL_VERSION}",
        )
    offered = bytes.fromhex(hello.token) if _TOKEN.fullmatch(hello.token) else bytes(TOKEN_BYTES)
    is_right = hmac.compare_digest(offered, token)
    # An all-zero token stands for a malformed one above; no boot makes it.
    if not is_right or offered == bytes(TOKEN_BYTES):
        return Verdict(None, AUTHENTICATION_FAILED)
    if hello.principal is None:
        return Verdict(DEFAULT_PRINCIPAL)
    if not is_principal(hello.principal):
        return Verdict(None, "the principal of the handshake is not a valid id")
    return Verdict(Principal(hello.principal))


def reply(verdict: Verdict, *, server_version: str) -> bytes:
    """The JSON text that answers a hello; `reason` is left out on success."""
    answer: dict[str, object] = {
        "status": "ok" if verdict.principal is not None else "error",
        "protocol_version": PROTOCOL_VERSION,
        "server_version": server_version,
    }
    if verdict.principal is None:
        answer["reason"] = verdict.reason
    return _encode(answer)
