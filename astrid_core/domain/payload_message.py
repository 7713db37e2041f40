"""The JSON form of a whole message, and the time stamps it carries.

Trusted with refusing malformed messages from clients. The principal of a parsed message is what
the sender wrote, a claim: whoever reads it decides what it is worth.

Spec: capsules-and-bus 6.2.
"""

from __future__ import annotations

import functools
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from astrid_core.domain.payload import PayloadError, from_wire, parse_json, to_wire_json

_MAX_SEQ: Final = 2**64 - 1
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000


class WireMessage(NamedTuple):
    """A message as it stands on the wire.

    Attributes:
        topic: Not checked.
        kind: Payload variant.
        payload: JSON text in the form guests receive.
        source_id: UUID text, lower case with hyphens.
        timestamp: RFC 3339, UTC, milliseconds.
        seq: 0 when the sender gave none.
        principal: As claimed, not checked; None when absent.
    """

    topic: str
    kind: str
    payload: bytes
    source_id: str
    timestamp: str
    seq: int = 0
    principal: str | None = None


class _Incoming(msgspec.Struct):
    topic: str
    payload: Any
    source_id: uuid.UUID
    signature: list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | None = None
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType = msgspec.UNSET
    seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    principal: str | None = None


class _Outgoing(msgspec.Struct):
    topic: str
    payload: msgspec.Raw
    source_id: str
    timestamp: str
    seq: int
    signature: None = None
    principal: str | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode


def parse_message(text: str | bytes, *, now: str) -> WireMessage:
    """Read one message.

    Args:
        text: The JSON text.
        now: Time stamp for a message without one.

    Raises:
        PayloadError: Not JSON, a required field is missing, or a field has the wrong type.
    """
    value = parse_json(text)
    try:
        message = msgspec.convert(value, _Incoming)
    except msgspec.ValidationError as error:
        raise PayloadError(f"message does not decode: {error}", code="message.shape") from error
    if message.seq > _MAX_SEQ:  # the library's own bounds end at 63 bits
        raise PayloadError("message seq does not fit 64 bits", code="message.shape")
    kind, payload = from_wire(message.payload, is_checked=True)
    stamp = message.timestamp
    return WireMessage(
        topic=message.topic,
        kind=kind,
        payload=payload,
        source_id=str(message.source_id),
        timestamp=now if isinstance(stamp, msgspec.UnsetType) else _format_datetime(stamp),
        seq=message.seq,
        principal=message.principal,
    )


def message_json(message: WireMessage) -> bytes:
    """The JSON text of a message; the payload is always tagged, an absent principal left out."""
    return _encode(
        _Outgoing(
            topic=message.topic,
            payload=msgspec.Raw(to_wire_json(message.kind, message.payload)),
            source_id=message.source_id,
            timestamp=message.timestamp,
            seq=message.seq,
            principal=msgspec.UNSET if message.principal is None else message.principal,
        )
    )


def format_timestamp(unix_ns: int) -> str:
    """RFC 3339 in UTC with milliseconds, cut, not rounded: `2026-02-03T09:10:11.120Z`.

    Args:
        unix_ns: Nanoseconds since 1970, not negative.
    """
    seconds, rest = divmod(unix_ns, _NS_PER_S)
    return f"{_format_seconds(seconds)}.{rest // _NS_PER_MS:03d}Z"


@functools.lru_cache(maxsize=4)
def _format_seconds(seconds: int) -> str:
    # A pure function of its argument, called many times within each second.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _format_datetime(moment: datetime) -> str:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError as error:  # the first or last hours of what a datetime can hold
        raise PayloadError("time stamp is out of range", code="message.shape") from error
    return in_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
