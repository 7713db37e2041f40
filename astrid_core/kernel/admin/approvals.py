"""What the management requests about approvals and allowances do.

Answering is none of them: capsules can make requests for the principal they act for, and nobody
answers its own question.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from blake3 import blake3

from astrid_core.domain.allowance import Allowance, AllowanceError
from astrid_core.domain.approval import Question, usual_scope
from astrid_core.domain.kernel_request import Reply
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_hookspecs.values import Principal

_MARK_BYTES: Final = 8
_SAME: Final = ("id", "principal", "created_at", "expires_at", "uses_remaining", "session_only")


def questions(approvals: Approvals, principal: Principal) -> Reply:
    """The questions of a principal that can be answered, oldest first."""
    return Reply("Approvals", [_question_row(one) for one in approvals.pending(principal)])


def allowances(store: AllowanceStore, principal: Principal) -> Reply:
    """What a principal's capsules may do without asking, oldest first."""
    return Reply("Allowances", [_allowance_row(one) for one in store.all(principal)])


def remove(store: AllowanceStore, principal: Principal, allowance_id: uuid.UUID) -> Reply:
    """Take an allowance back; the next time, somebody is asked."""
    try:
        store.remove(allowance_id, principal=principal)
    except AllowanceError:
        changed = False
    else:
        changed = True
    return Reply("Success", {"id": str(allowance_id), "principal": principal, "changed": changed})


def workspace_mark(root: str | None) -> str | None:
    """Tells workspaces apart without naming a path of the host; None for any workspace."""
    return None if root is None else blake3(root.encode()).hexdigest(length=_MARK_BYTES)


def allowance_of(row: Mapping[str, Any], *, root: str | None) -> Allowance:
    """An allowance from its row, for deciding what it covers in a workspace.

    Args:
        row: Of `AllowanceList`.
        root: The workspace; an allowance for another one covers nothing in it.
    """
    mark, left = row["workspace"], row["uses_remaining"]
    other = None if mark is None else ""
    values = {key: row[key] for key in _SAME} | {
        "action_pattern": row["covers"],
        "max_uses": left,
        "workspace_root": root if mark is not None and mark == workspace_mark(root) else other,
    }
    return msgspec.convert(values, Allowance)


def _question_row(question: Question) -> Mapping[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(question)
    del row["workspace_root"]  # a path of the host
    row["scope"] = usual_scope(question)
    return row


def _allowance_row(allowance: Allowance) -> Mapping[str, Any]:
    return {
        "id": str(allowance.id),
        "principal": allowance.principal,
        "covers": msgspec.to_builtins(allowance.action_pattern),
        "created_at": allowance.created_at,
        "expires_at": allowance.expires_at,
        "uses_remaining": allowance.uses_remaining,
        "session_only": allowance.session_only,
        "workspace": workspace_mark(allowance.workspace_root),
    }
