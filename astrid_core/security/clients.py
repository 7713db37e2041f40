"""What clients of the local socket may do, as pure rules; the gate applies them.

The owner's token makes a client the default principal, the owner. What a principal may ask of the
kernel is decided by its profile and groups; these are the rules beside them.
Spec: kernel-and-security 4.2, 16 D-12.
"""

from __future__ import annotations

from typing import Final

from astrid_core.domain.topic import (
    APPROVAL_ANSWERS,
    ELICIT_ANSWERS,
    TOOLS_TOPIC,
    is_kernels_own,
    is_reserved,
)
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

OPEN_RIGHTS: Final = frozenset({"self:tool:call", "self:bus:subscribe", "self:approval:respond"})
"""Rights of every enabled principal, unless they are revoked: each call, message and answer that
follows is checked by itself."""


def may_speak_for(principal: Principal, other: Principal) -> bool:
    """Whether a connection of `principal` may send a frame that names `other`."""
    return principal in (other, DEFAULT_PRINCIPAL)


def may_publish(principal: Principal, topic: str) -> bool:
    """Whether a client may publish on a topic.

    What the kernel says, nobody says for it. Reserved topics are the owner's, except for answers of
    people: whose they are depends on the request, and is decided where they are taken.
    """
    if topic.startswith((APPROVAL_ANSWERS, ELICIT_ANSWERS)):
        return True
    if is_reserved(topic):
        return principal == DEFAULT_PRINCIPAL
    return not is_kernels_own(topic)


def may_hear(principal: Principal, about: Principal | None, *, topic: str = "") -> bool:
    """Whether a client hears a message that is about a principal, or about nobody.

    What is about nobody is the kernel's own, and the owner's to hear; that there are other tools
    says nothing, and is everybody's.
    """
    if about is None:
        return principal == DEFAULT_PRINCIPAL or topic == TOOLS_TOPIC
    return about == principal
