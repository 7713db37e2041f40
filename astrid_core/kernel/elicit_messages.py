"""Elicitation on the bus: what front ends hear of a question, and what they answer.

Trusted with the answers: they come from connections of clients, with the principal that the kernel
gave the connection, and go to who asked. None is ever published.
Spec: host-abi 4; capsules-and-bus 8.6; kernel-and-security 16 D-46.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from astrid_core.domain.elicitation import ElicitError
from astrid_core.domain.payload import decode, encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import ElicitRequest, ElicitResponse, Payload, RawJson
from astrid_core.domain.topic import ELICIT_ANSWERS, ELICIT_TOPIC
from astrid_core.kernel.elicitations import Asked, Elicitations
from astrid_hookspecs.buses import Attribution, Bus, Envelope
from astrid_hookspecs.values import Principal

ENDED_TOPIC: Final = "astrid.v1.elicit.ended."
"""Before the id of a question that is over, with its `state` and without its answer."""


def elicit_notices(bus: Bus) -> tuple[Callable[[Asked], None], Callable[[Asked, str], None]]:
    """What tells the front ends of a question's principal of it, and that it is over."""

    def announce(asked: Asked) -> None:
        request = ElicitRequest(asked.id, asked.capsule, asked.question.to_field())
        _publish(bus, ELICIT_TOPIC, request, asked.principal)

    def ended(asked: Asked, state: str) -> None:
        payload = RawJson({"request_id": str(asked.id), "state": state})
        _publish(bus, f"{ENDED_TOPIC}{asked.id}", payload, asked.principal)

    return announce, ended


def take_elicited(
    elicitations: Elicitations, topic: str, *, kind: str, payload: bytes, principal: Principal
) -> None:
    """Hand over what a client answered.

    Args:
        elicitations: Where the question is.
        topic: `astrid.v1.elicit.response.<request id>`.
        kind: Payload variant.
        payload: JSON text.
        principal: For whom the client acts, as the kernel knows it.

    Raises:
        ElicitError: `elicit.invalid`: it is no answer, or names another request inside than in its
            topic; `elicit.not-found`.
        PayloadError: The payload is malformed.
        AuditError: It could not be recorded.
    """
    response = decode(kind, payload)
    request_id = topic.removeprefix(ELICIT_ANSWERS)
    if not isinstance(response, ElicitResponse) or str(response.request_id) != request_id:
        raise ElicitError(
            "an answer is an elicit_response with the request id of its topic",
            hint="answer the request that was shown",
        )
    elicitations.answer(
        response.request_id, value=response.value, values=response.values, by=principal
    )


def _publish(bus: Bus, topic: str, payload: Payload, principal: Principal) -> None:
    kind, text = encode(payload)
    bus.publish(
        Envelope(
            topic,
            text,
            kind,
            principal=principal,
            attribution=Attribution.VERIFIED,
            timestamp=format_timestamp(time.time_ns()),
        )
    )
