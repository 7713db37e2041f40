"""The services around principals, made once per kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from astrid_core.config.budget import BudgetSettings
from astrid_core.domain.approval import Question
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_core.kernel.budgets import Budgets
from astrid_core.kernel.elicitations import Asked, Elicitations
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.directory import PrincipalDirectory
from astrid_core.kernel.principals.editor import PrincipalFiles
from astrid_core.kernel.principals.group_editor import GroupEditor
from astrid_core.kernel.principals.group_store import GroupStore
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.tokens import TokenStore
from astrid_core.kernel.warrants import Warrants
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.stores import KvStore

ElicitNotices: TypeAlias = tuple[Callable[[Asked], None], Callable[[Asked, str], None]]


class Principals(NamedTuple):
    """Everything about principals: who may do what, who they are, and how that changes."""

    authority: Authority
    directory: PrincipalDirectory
    groups: GroupEditor
    identities: IdentityStore
    tokens: TokenStore
    allowances: AllowanceStore
    approvals: Approvals
    elicitations: Elicitations
    budgets: Budgets


def make_principals(
    home: Home,
    *,
    profiles: ProfileStore,
    kv: KvStore,
    audit: AuditTrail,
    announce: Callable[[Question], None] = lambda _question: None,
    elicit: ElicitNotices = (lambda _asked: None, lambda _asked, _how: None),
    budget: BudgetSettings = BudgetSettings(),  # noqa: B008 - frozen
    workspace: Path | None = None,
) -> Principals:
    """Make the services on the files and the store of a home.

    Args:
        home: With the profiles, the groups and the key.
        profiles: Of the home.
        kv: The kernel's store.
        audit: Where changes are recorded.
        announce: Tells front ends that somebody waits for a decision.
        elicit: Tells them that somebody waits for a value, and that it is over.
        budget: Bounds of every principal.
        workspace: Where the kernel works; None for nowhere in particular.

    Raises:
        ConfigError: The group file cannot be used. Read later, it would refuse everybody.

    Spec: kernel-and-security 15 vectors 7, 60.
    """
    authority = Authority(profiles, GroupStore(home.etc))
    authority.groups.groups()
    files = PrincipalFiles(home.etc, authority)
    identities = IdentityStore(kv)
    directory = PrincipalDirectory(
        files,
        authority=authority,
        identities=identities,
        create_home=home.create_principal,
    )
    tokens = TokenStore(kv, seed=home.runtime_key(), audit=audit)
    tokens.clean()  # what has ended is refused anyway; only a start has nobody waiting for it
    allowances = AllowanceStore(kv, warrants=Warrants(tokens))
    return Principals(
        authority,
        directory,
        GroupEditor(files, authority=authority),
        identities,
        tokens,
        allowances,
        Approvals(kv, allowances=allowances, audit=audit, announce=announce),
        Elicitations(audit, announce=elicit[0], ended=elicit[1]),
        Budgets(
            budget, kv=kv, audit=audit, workspace=None if workspace is None else str(workspace)
        ),
    )
