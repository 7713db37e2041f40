"""Approvals on the bus: what front ends hear of a question, and what they answer.

Trusted with whose answer it is: only messages of clients come here, with the principal that the
kernel gave their connection. What capsules publish on the same topics is a message and no answer.
Spec: kernel-and-security 7.4, 16 D-46.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from astrid_core.domain.approval import LATER, ApprovalError, Question, usual_scope
from astrid_core.domain.payload import decode, encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import ApprovalRequired, ApprovalResponse
from astrid_core.domain.topic import APPROVAL_ANSWERS, APPROVAL_TOPIC
from astrid_core.kernel.approvals import Approvals
from astrid_hookspecs.buses import Attribution, Bus, Envelope
from astrid_hookspecs.values import Principal


def approval_notices(bus: Bus) -> Callable[[Question], None]:
    """What tells the front ends of a question's principal, and nobody else's."""

    def announce(question: Question) -> None:
        kind, payload = encode(
            ApprovalRequired(
                str(question.id),
                f"{question.capsule}: {question.action}",
                question.resource,
                question.reason,
                usual_scope(question),
            )
        )
        bus.publish(
            Envelope(
                APPROVAL_TOPIC,
                payload,
                kind,
                principal=Principal(question.principal),
                attribution=Attribution.VERIFIED,
                timestamp=format_timestamp(time.time_ns()),
            )
        )

    return announce


def take_answer(
    approvals: Approvals, topic: str, *, kind: str, payload: bytes, principal: Principal
) -> None:
    """Decide as a client says.

    Args:
        approvals: Where the question is.
        topic: `astrid.v1.approval.response.<request id>`.
        kind: Payload variant.
        payload: JSON text.
        principal: For whom the client acts, as the kernel knows it.

    Raises:
        ApprovalError: `approval.invalid`: it is no answer, or names another request inside than in
            its topic; `approval.not-found`: no such request waits for this principal;
            `approval.scope`: it would not cover what is asked.
        PayloadError: The payload is malformed.
        AllowanceError, AuditError, StoreError: It was not taken; the question stays.
    """
    request_id = topic.removeprefix(APPROVAL_ANSWERS)
    response = decode(kind, payload)
    if not isinstance(response, ApprovalResponse) or response.request_id != request_id:
        raise ApprovalError(
            "an answer is an approval_response with the request id of its topic",
            hint="answer the request that was shown",
        )
    try:
        question_id = uuid.UUID(request_id)
    except ValueError as error:
        raise ApprovalError("a request id is a UUID") from error
    if response.decision == LATER:
        approvals.put_off(question_id, by=principal)
    else:
        approvals.answer(question_id, response.decision, by=principal, scope=response.scope)
