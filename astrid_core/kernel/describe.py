"""The reply to a request for tool descriptions.

Guest kits only return their description to the kernel, while callers wait for it on a topic; this
module makes the one from the other. Trusted with attribution: the reply carries the capsule's
source id and the caller's principal exactly as attributed in the request.

Spec: capsules-and-bus 8.2.
"""

from __future__ import annotations

from typing import Final

from loguru import logger

from astrid_core.domain.payload import PayloadError, encode, parse_json
from astrid_core.domain.payload_variants import Custom
from astrid_core.domain.topic import MAX_CAUSAL_DEPTH
from astrid_hookspecs.buses import Envelope

DESCRIBE_ACTION: Final = "tool_describe"
REPLY_PREFIX: Final = "tool.v1.response.describe."
_CORRELATION: Final = "correlation_id"


def describe_reply(
    request: Envelope, *, data: bytes, source_id: str, timestamp: str
) -> Envelope | None:
    """The envelope to publish for an answer of the action `tool_describe`.

    Args:
        request: The event that asked, unchanged by other members of its chain.
        data: What the capsule answered with; no larger than a message.
        source_id: The capsule's.
        timestamp: RFC 3339, of now.

    Returns:
        None, with a line in the log, for data that is not JSON or would be published too deep
        in a causal chain.
    """
    refusal = None
    if request.depth >= MAX_CAUSAL_DEPTH:
        refusal = f"the request is {request.depth} publishes deep"
    else:
        try:
            value = parse_json(data)
        except PayloadError as error:
            refusal = error.message
    if refusal is not None:
        logger.warning("the tool description of {} is not published: {}", source_id, refusal)
        return None
    correlation_id = _correlation_id(request.payload)
    if correlation_id is not None and isinstance(value, dict):
        value[_CORRELATION] = correlation_id
    kind, payload = encode(Custom(data=value))
    return Envelope(
        topic=REPLY_PREFIX + source_id,
        payload=payload,
        kind=kind,
        source_id=source_id,
        principal=request.principal,
        attribution=request.attribution,
        timestamp=timestamp,
        depth=request.depth + 1,
    )


def _correlation_id(payload: bytes) -> str | None:
    try:
        value = parse_json(payload)
    except PayloadError:
        return None
    found = value.get(_CORRELATION) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None
