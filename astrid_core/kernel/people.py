"""The people that host functions ask, as the kernel knows them. Spec: host-abi 3, 4."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from astrid_core.domain.approval import ApprovalError, State
from astrid_core.domain.budget import cost_of
from astrid_core.host.people import Pause, People
from astrid_core.kernel.approvals import Approvals
from astrid_core.kernel.budgets import Budgets, Spending
from astrid_core.kernel.principals.assembly import Principals
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import CapsuleId, Principal

_REASON: Final = "capsule {} asks"


def people_of(principals: Principals, *, workspace: Path | None) -> People:
    """What host functions act on.

    Args:
        principals: Of the kernel.
        workspace: Where a yes counts; None for anywhere.
    """
    return People(
        approver=ApprovalDesk(principals.approvals, principals.budgets, workspace=workspace),
        elicitor=principals.elicitations,
        identities=principals.identities,
    )


class ApprovalDesk:
    """Implements `astrid_core.host.people.Approver` for one workspace.

    Args:
        approvals: Where questions go.
        budgets: Of the principals.
        workspace: Where a yes counts.
    """

    def __init__(self, approvals: Approvals, budgets: Budgets, *, workspace: Path | None) -> None:
        self._approvals = approvals
        self._budgets = budgets
        self._root = None if workspace is None else str(workspace)

    def decide(
        self, principal: Principal, capsule: CapsuleId, action: str, *, resource: str, pause: Pause
    ) -> State | None:
        """As `Approver.decide`."""

        def decide() -> State | None:
            return self._decide(principal, capsule, action, resource=resource, pause=pause)

        try:
            cost_usd = cost_of(action)
        except ConfigError as error:
            raise ApprovalError(error.message, hint=error.hint) from error
        if cost_usd is None:
            return decide()
        what = Spending(principal, capsule, cost_usd=cost_usd, resource=resource)
        with self._budgets.spending(what):
            return decide()

    def _decide(
        self, principal: Principal, capsule: CapsuleId, action: str, *, resource: str, pause: Pause
    ) -> State | None:
        ticket = self._approvals.request(
            principal,
            capsule,
            action,
            resource=resource,
            reason=_REASON.format(capsule),
            workspace_root=self._root,
        )
        return self._approvals.settle(ticket, pause=pause).state
