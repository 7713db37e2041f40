"""What clients of the local socket may do, as pure rules; the gate applies them.

The owner's token makes a client the default principal, who may do everything. Whoever acts for
another principal may do what concerns only that principal and changes nothing of the kernel.
Spec: kernel-and-security 4.2, 16 D-12.
"""

from __future__ import annotations

from typing import Final

from astrid_core.domain.topic import is_reserved
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

OPEN_RIGHTS: Final = frozenset({"self:capsule:list", "self:tool:call", "self:bus:subscribe"})
"""Rights of every enabled principal."""

_KERNEL_TOPICS: Final = "astrid.v1."


def may_speak_for(principal: Principal, other: Principal) -> bool:
    """Whether a connection of `principal` may send a frame that names `other`."""
    return principal in (other, DEFAULT_PRINCIPAL)


def holds_right(principal: Principal, right: str) -> bool:
    """Whether the principal of a connection holds a management capability."""
    return principal == DEFAULT_PRINCIPAL or right in OPEN_RIGHTS


def may_publish(principal: Principal, topic: str) -> bool:
    """Whether a client may publish on a topic.

    What the kernel says, nobody says for it. Reserved topics, such as the answer to an approval,
    are the owner's.
    """
    if is_reserved(topic):
        return principal == DEFAULT_PRINCIPAL
    return not topic.startswith(_KERNEL_TOPICS)


def may_hear(principal: Principal, about: Principal | None) -> bool:
    """Whether a client hears a message that is about a principal, or about nobody.

    What is about nobody is the kernel's own, and the owner's to hear.
    """
    return about == principal or (about is None and principal == DEFAULT_PRINCIPAL)
