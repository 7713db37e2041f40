"""The host function of `astrid:approval@1.0.0`: a person decides before something happens.

Trusted with the words: what is asked is what was shown, and no two texts that guests can tell
apart look the same to a person. Spec: host-abi 3; kernel-and-security 7.4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from blake3 import blake3

from astrid_core.domain.approval import MAX_ACTION, MAX_RESOURCE, ApprovalError, State
from astrid_core.domain.budget import BudgetExceededError
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.label import CONTROL
from astrid_hookspecs.engines import MIB, WitError
from astrid_hookspecs.errors import ApprovalDeniedError, StoreError

_DECISIONS: Final = {
    State.ONCE: "approved",
    State.SESSION: "approved-session",
    State.ALWAYS: "approved-always",
    None: "allowance",
}
_NO: Final = "approval.denied"
_MARK_BYTES: Final = 8
_MAX_MADE_LEGIBLE: Final = 16 * MAX_RESOURCE
_MAX_RESOURCE_TEXT: Final = MIB
"""Of one that is longer, not all may have crossed, and a yes would count for others too."""


class ApprovalResponseRecord(NamedTuple):
    """The record `approval-response`."""

    decision: str


class ApprovalRequestRecord(NamedTuple):
    """The record `approval-request`."""

    action: str
    target_resource: str


class ApprovalHost(HostPackage):
    """The functions of `astrid:approval/host@1.0.0`."""

    interface = "astrid:approval/host@1.0.0"
    denied_case = None
    quota_case = None

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As the base class says."""
        if isinstance(error, ApprovalError):
            return WitError("invalid-input")
        return WitError("store-unavailable") if isinstance(error, StoreError) else None

    @handles("request-approval")
    def request_approval(self, request: ApprovalRequestRecord) -> ApprovalResponseRecord:
        """Ask, wait a minute at most, and say what was decided. A no is an answer."""
        action, resource = request
        if len(action) > MAX_ACTION or len(resource) > _MAX_RESOURCE_TEXT:
            raise WitError("invalid-input")
        instance, approver = self.instance, self.instance.services.people.approver
        if approver is None:
            raise WitError("store-unavailable")
        try:
            state = approver.decide(
                instance.principal,
                instance.context.id,
                legible(action),
                resource=shown_resource(resource),
                pause=self.instance.pause,
            )
        except ApprovalDeniedError as error:
            if error.code == _NO:
                return ApprovalResponseRecord("denied")
            raise WitError("timeout") from error
        except BudgetExceededError:
            return ApprovalResponseRecord("denied")
        return ApprovalResponseRecord(_DECISIONS[state])


def legible(text: str) -> str:
    """A text without the characters that nobody sees."""
    return CONTROL.sub("", text).strip()


def shown_resource(text: str) -> str:
    """What is asked about, legible; cut where it is too long.

    What is cut has a mark of the whole: a yes is for this text only. A text may be as long as a
    guest's memory, so no more of it is made legible than may be shown; the mark of such a one is
    that of what the guest wrote.
    """
    is_huge = len(text) > _MAX_MADE_LEGIBLE
    shown = legible(text[:_MAX_MADE_LEGIBLE])
    if len(shown) <= MAX_RESOURCE and not is_huge:
        return shown
    whole = text if is_huge else shown
    mark = f" ... (blake3 {blake3(whole.encode('utf-8', 'replace')).hexdigest(length=_MARK_BYTES)})"
    return shown[: MAX_RESOURCE - len(mark)] + mark
