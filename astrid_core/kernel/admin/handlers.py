"""What each management request does, and the data of its answer.

Whether the caller may ask was decided before; what is refused here is what the change itself would
do. Spec: kernel-and-security 4.4, 16 D-20 to D-29.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple, TypeAlias

from astrid_core.domain import admin_request as api
from astrid_core.domain.capability import BUILTIN_GROUPS
from astrid_core.domain.kernel_request import Reply
from astrid_core.domain.profile import Profile, Quotas
from astrid_core.kernel.admin import approvals, secrets, tokens
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.directory import Row
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_core.kernel.secret_stores import HomeSecrets
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal, is_principal

Usage: TypeAlias = Callable[[Principal], Mapping[str, int]]


class Powers(NamedTuple):
    """What a handler may ask about the caller.

    Attributes:
        caller: Who asks.
        usage: What a principal uses, by name; None where nobody counts it.
        holds: Whether the caller holds a capability.
        need: Refuses, on record, unless the caller holds a capability.
        secrets: The secret store; None without one.
    """

    caller: Principal
    usage: Usage | None
    holds: Callable[[str], bool]
    need: Callable[[str], object]
    secrets: HomeSecrets | None = None


Handler = Callable[[Principals, Any, Powers], Reply]


def handle(principals: Principals, request: api.AdminRequest, who: Powers) -> Reply:
    """Do what an admitted request asks for. May be called from any thread; waits for the disk.

    Raises:
        PrincipalError: It cannot be done; nothing was changed.
        DeniedError: It would give more than the caller may give.
        StoreError: It could not be written.
    """
    return _HANDLERS[request.method](principals, request.params, who)


def _agent_create(principals: Principals, params: api.AgentCreate, _who: Powers) -> Reply:
    created = principals.directory.create(
        params.name,
        groups=params.groups,
        grants=params.grants,
        unsafe_admin=params.unsafe_admin,
        quotas=params.quotas.named(),
    )
    return Reply(
        "Success",
        {
            "principal": created.principal,
            "astrid_user_id": created.user_id,
            **_unknown_groups(principals, params.groups),
        },
    )


def _agent_delete(principals: Principals, params: api.ForPrincipal, who: Powers) -> Reply:
    principal = _principal(params)
    changed = principals.directory.delete(principal)
    principals.approvals.forget(principal)
    principals.allowances.clear(principal)
    principals.budgets.forget(principal)
    revoked = tokens.revoke_all(principals.tokens, principal, caller=who.caller)
    forgotten = secrets.forget(who.secrets, principal)
    data = {
        "principal": principal,
        "changed": changed,
        "revoked_tokens": revoked,
        "deleted_secrets": forgotten,
    }
    return Reply("Success", data)


def _agent_switch(*, enabled: bool) -> Handler:
    def switch(principals: Principals, params: api.ForPrincipal, _who: Powers) -> Reply:
        principal = _principal(params)
        done = principals.directory.set_enabled(principal, enabled=enabled)
        data = {"principal": principal, "enabled": enabled, "changed": done.changed}
        return Reply("Success", data)

    return switch


def _agent_modify(principals: Principals, params: api.AgentModify, _who: Powers) -> Reply:
    principal = _principal(params)
    done = principals.directory.modify_groups(
        principal, add=params.add_groups, remove=params.remove_groups
    )
    return Reply(
        "Success",
        {
            "principal": principal,
            "groups": list(done.profile.groups),
            "changed": done.changed,
            **_unknown_groups(principals, params.add_groups),
        },
    )


def _agent_list(principals: Principals, _params: api.NoParams, who: Powers) -> Reply:
    sees_all = who.holds(api.ALL_AGENTS_RIGHT)
    rows = [
        _damaged_row(row) if row.profile is None else _agent_row(row.principal, row.profile)
        for row in principals.directory.rows()
        if sees_all or row.principal == who.caller
    ]
    return Reply("AgentList", rows)


def _quota_set(principals: Principals, params: api.QuotaSet, who: Powers) -> Reply:
    principal = _principal(params)

    def check(before: Quotas, after: Quotas) -> None:
        if any(asdict(after)[name] > value for name, value in asdict(before).items()):
            who.need(api.ADMIN_METHODS["QuotaSet"].right)  # [D-26]

    quotas = principals.directory.set_quotas(
        principal, params.quotas.named(), keep_rest=params.patch, check=check
    )
    return Reply("Success", {"principal": principal, "quotas": asdict(quotas)})


def _quota_get(principals: Principals, params: api.ForPrincipal, who: Powers) -> Reply:
    principal = _principal(params)
    data: dict[str, object] = asdict(principals.directory.profile(principal).quotas)
    if who.usage is not None:
        data["usage"] = dict(who.usage(principal))
        data["budget"] = dict(principals.budgets.shown(principal))
    return Reply("Quotas", data)


def _group_create(principals: Principals, params: api.GroupCreate, _who: Powers) -> Reply:
    principals.groups.create(
        params.name,
        capabilities=params.capabilities,
        description=params.description or "",
        unsafe_admin=params.unsafe_admin,
    )
    return _OK


def _group_delete(principals: Principals, params: api.GroupDelete, _who: Powers) -> Reply:
    principals.groups.delete(params.name)
    return _OK


def _group_modify(principals: Principals, params: api.GroupModify, _who: Powers) -> Reply:
    principals.groups.modify(
        params.name,
        capabilities=params.capabilities,
        add=params.add_capabilities,
        remove=params.remove_capabilities,
        description=params.description,
        unsafe_admin=params.unsafe_admin,
    )
    return _OK


def _group_list(principals: Principals, _params: api.NoParams, _who: Powers) -> Reply:
    rows = []
    for name, group in principals.groups.groups().items():
        row: dict[str, object] = {"name": name, "capabilities": list(group.capabilities)}
        if group.description:
            row["description"] = group.description
        rows.append({**row, "unsafe_admin": group.unsafe_admin, "builtin": name in BUILTIN_GROUPS})
    return Reply("GroupList", rows)


def _caps_grant(principals: Principals, params: api.CapsGrant, _who: Powers) -> Reply:
    principals.directory.grant(
        _principal(params), params.capabilities, unsafe_admin=params.unsafe_admin
    )
    return _capabilities(params)


def _caps_revoke(principals: Principals, params: api.CapsRevoke, _who: Powers) -> Reply:
    principals.directory.revoke(_principal(params), params.capabilities)
    return _capabilities(params)


def _caps_ungrant(principals: Principals, params: api.CapsRevoke, _who: Powers) -> Reply:
    principals.directory.ungrant(_principal(params), params.capabilities)
    return _capabilities(params)


def _caps_unrevoke(principals: Principals, params: api.CapsRevoke, _who: Powers) -> Reply:
    principals.directory.unrevoke(_principal(params), params.capabilities)
    return _capabilities(params)


def _token_mint(principals: Principals, params: api.TokenMint, who: Powers) -> Reply:
    principal = _principal(params)
    principals.directory.profile(principal)
    return tokens.mint(principals.tokens, params, principal, caller=who.caller, need=who.need)


def _token_add(principals: Principals, params: api.TokenAdd, who: Powers) -> Reply:
    return tokens.add(principals.tokens, params, caller=who.caller)


def _token_revoke(principals: Principals, params: api.TokenRevoke, who: Powers) -> Reply:
    return tokens.revoke(principals.tokens, params, caller=who.caller)


def _token_list(principals: Principals, params: api.ForPrincipal, _who: Powers) -> Reply:
    return tokens.listed(principals.tokens, _principal(params))


def _approval_list(principals: Principals, params: api.ForPrincipal, _who: Powers) -> Reply:
    return approvals.questions(principals.approvals, _principal(params))


def _allowance_list(principals: Principals, params: api.ForPrincipal, _who: Powers) -> Reply:
    return approvals.allowances(principals.allowances, _principal(params))


def _allowance_remove(principals: Principals, params: api.AllowanceRemove, _who: Powers) -> Reply:
    return approvals.remove(principals.allowances, _principal(params), params.id)


def _capabilities(params: api.CapsRevoke) -> Reply:
    return Reply(
        "Success", {"principal": params.principal, "capabilities": list(params.capabilities)}
    )


def _principal(params: api.ForPrincipal) -> Principal:
    if not is_principal(params.principal):
        raise PrincipalError(
            f"{params.principal[:80]!r} is not a principal id",
            code="principal.invalid-name",
            hint="use 1 to 64 letters, digits, underscores and hyphens",
        )
    return Principal(params.principal)


def _unknown_groups(principals: Principals, named: tuple[str, ...]) -> dict[str, list[str]]:
    """What to warn of: a group that does not exist gives nothing."""
    unknown = [name for name in named if name not in principals.groups.groups()]
    return {"unknown_groups": unknown} if unknown else {}


def _agent_row(principal: Principal, profile: Profile) -> dict[str, object]:
    return {
        "principal": principal,
        "enabled": profile.enabled,
        "groups": list(profile.groups),
        "grants": list(profile.grants),
        "revokes": list(profile.revokes),
    }


def _damaged_row(row: Row) -> dict[str, object]:
    """An agent that can do nothing because its profile is not understood, and why."""
    error = row.problem or ConfigError("the profile cannot be used", code="profile.value")
    problem = {"code": error.code, "message": str(error), "hint": error.hint}
    return {**_agent_row(row.principal, Profile(enabled=False)), "problem": problem}


_OK: Final = Reply("Success", {"status": "ok"})


def _secret_set(_principals: Principals, params: api.SecretSet, who: Powers) -> Reply:
    if params.shared:
        who.need("secret:set")  # what everybody gets is not one agent's own business
    return secrets.put(who.secrets, params, _principal(params))


def _secret_delete(_principals: Principals, params: api.SecretDelete, who: Powers) -> Reply:
    if params.shared:
        who.need("secret:delete")
    return secrets.delete(who.secrets, params, _principal(params))


def _secret_list(_principals: Principals, params: api.ForPrincipal, who: Powers) -> Reply:
    return secrets.listed(who.secrets, _principal(params))


def _secret_migrate(_principals: Principals, params: api.SecretMigrate, who: Powers) -> Reply:
    return secrets.migrate(who.secrets, params)


_HANDLERS: Final[Mapping[str, Handler]] = {
    "AgentCreate": _agent_create,
    "AgentDelete": _agent_delete,
    "AgentEnable": _agent_switch(enabled=True),
    "AgentDisable": _agent_switch(enabled=False),
    "AgentModify": _agent_modify,
    "AgentList": _agent_list,
    "QuotaSet": _quota_set,
    "QuotaGet": _quota_get,
    "GroupCreate": _group_create,
    "GroupDelete": _group_delete,
    "GroupModify": _group_modify,
    "GroupList": _group_list,
    "CapsGrant": _caps_grant,
    "CapsRevoke": _caps_revoke,
    "CapsUngrant": _caps_ungrant,
    "CapsUnrevoke": _caps_unrevoke,
    "AllowanceList": _allowance_list,
    "AllowanceRemove": _allowance_remove,
    "ApprovalList": _approval_list,
    "SecretDelete": _secret_delete,
    "SecretList": _secret_list,
    "SecretMigrate": _secret_migrate,
    "SecretSet": _secret_set,
    "TokenAdd": _token_add,
    "TokenList": _token_list,
    "TokenMint": _token_mint,
    "TokenRevoke": _token_revoke,
}
