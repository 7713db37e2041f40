"""Ask a person before doing something that matters.

Spec: astrid:approval@1.0.0.
"""

from __future__ import annotations

import enum

from astrid_sdk.bindings import host_call, host_type


class Decision(enum.Enum):
    """What was decided."""

    DENIED = "denied"
    APPROVED = "approved"
    APPROVED_SESSION = "approved-session"
    APPROVED_ALWAYS = "approved-always"
    ALLOWANCE = "allowance"
    """An earlier yes; nobody was asked."""

    def __bool__(self) -> bool:
        """Whether the action may happen."""
        return self is not Decision.DENIED


def request(action: str, resource: str = "") -> Decision:
    """Ask, and wait a minute at most; true when the action may happen.

    A person reads both texts, and a yes is for what they say. Where the resource is a command that
    begins with the action (`git push`, `git push origin`), a yes for the session covers the action
    with other arguments, too.

    Args:
        action: What the capsule wants to do, at most 256 characters.
        resource: To what.

    Raises:
        ApprovalError: `HostTimeoutError` when nobody answers, `InvalidInputError`,
            `StoreUnavailableError`.
    """
    wanted = host_type("approval", "ApprovalRequest")(action, resource)
    found = host_call("approval", "request_approval", wanted).decision
    return Decision[found.name]
