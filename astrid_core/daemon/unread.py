"""Frames that are refused unread, and what has to be found in them all the same.

Trusted with time: what is looked for here costs little, however long a frame is and whatever is in
it. Does no I/O. Spec: kernel-and-security 3.5.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from astrid_core.domain.kernel_request import MAX_REQUEST_ID
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES
from astrid_hookspecs.errors import QuotaExceededError

_AROUND_BYTES: Final = 4096
"""What a message has besides its payload."""
_LONGEST_TEXT: Final = 3
"""Times as long as in UTF-8 is a text of which every other letter is escaped."""
_ESCAPE_SAVES: Final = 5
"""Bytes by which a letter is shorter than its longest escape, at most."""
_MAX_BRACKETS: Final = 65_536


class Address(NamedTuple):
    """Where a refusal goes.

    Attributes:
        topic: Of the frame, not checked; None when it says nowhere.
        request_id: By which its sender knows the answer again; None when it gave none.
    """

    topic: str | None
    request_id: str | None


class _Addressed(msgspec.Struct):
    topic: str


class _Asking(msgspec.Struct):
    request_id: str


class _Question(msgspec.Struct):
    payload: _Asking


_addressed: Final = msgspec.json.Decoder(_Addressed).decode
_question: Final = msgspec.json.Decoder(_Question).decode


def check_effort(body: bytes) -> None:
    """Refuse a frame that nobody could receive anyway, before it is read: the others would wait.

    What is longer than the longest payload can only be one by escapes and spaces, which are
    counted, and a text hardly consists of brackets.

    Raises:
        QuotaExceededError: Its payload cannot be short enough.
    """
    longest = MAX_PAYLOAD_BYTES + _AROUND_BYTES
    if len(body) <= longest:
        return
    is_short = len(body) <= _LONGEST_TEXT * MAX_PAYLOAD_BYTES + _AROUND_BYTES
    if is_short:
        escapes = body.replace(b"\\\\", b"").count(b"\\u")
        spaces = sum(body.count(space) for space in (b" ", b"\n", b"\r", b"\t"))
        is_short = len(body) - _ESCAPE_SAVES * escapes - spaces <= longest
    if not is_short or body.count(b"[") + body.count(b"{") > _MAX_BRACKETS:
        raise QuotaExceededError(
            f"a frame of {len(body)} bytes holds a payload that is too long; at most "
            f"{MAX_PAYLOAD_BYTES}",
            rule="payload-size",
            hint="pass a path or a key instead of the content",
        )


def address_of(body: bytes) -> Address:
    """Where the refusal of a frame goes; the rest of it is skipped, not read.

    Without its id, who sent a request would wait for ever for the answer.
    """
    try:
        topic = _addressed(body).topic
    except (ValueError, RecursionError):
        return Address(None, None)
    try:
        request_id = _question(body).payload.request_id
    except (ValueError, RecursionError):
        return Address(topic, None)
    return Address(topic, request_id if len(request_id) <= MAX_REQUEST_ID else None)
