"""Management requests: their methods, parameters, and the right that each needs.

Pure. Trusted with the table: a method that is not in it does not exist, each names the right that
it needs, and its parameters are the fields of a type, which names those that no record may hold.
Spec: kernel-and-security 4.3, 4.4, 16 D-14, D-20, D-26, D-27.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from astrid_core.domain.capability_token import MAX_TEXT, Permission
from astrid_core.domain.kernel_request import KernelRequest, RequestError

MAX_ITEMS: Final = 256
_MAX_NAME: Final = 256
_MAX_CAPABILITY: Final = 1024
_MAX_DESCRIPTION: Final = 1024
_MAX_SECRET: Final = 65_536
_PER_MINUTE: Final = 600

Name = Annotated[str, Meta(max_length=_MAX_NAME)]
"""Grammars are checked later, with better words; the bound is for the audit log."""
Names = Annotated[tuple[Name, ...], Meta(max_length=MAX_ITEMS)]
Capabilities = Annotated[
    tuple[Annotated[str, Meta(max_length=_MAX_CAPABILITY)], ...], Meta(max_length=MAX_ITEMS)
]
Resource = Annotated[str, Meta(max_length=MAX_TEXT)]
Permissions = Annotated[tuple[Permission, ...], Meta(min_length=1, max_length=16)]
Description = Annotated[str, Meta(max_length=_MAX_DESCRIPTION)]


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a request; keys that nobody knows are ignored, as in the reference.

    Attributes:
        secrets: Names of those that no record may hold.
    """

    secrets: ClassVar[frozenset[str]] = frozenset()


class NoParams(Params, frozen=True, kw_only=True):
    """A request without parameters."""


class ForPrincipal(Params, frozen=True, kw_only=True):
    """A request about one principal."""

    principal: Name


class QuotaFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits; None for those that are not named."""

    max_memory_bytes: int | None = None
    max_timeout_secs: int | None = None
    max_ipc_throughput_bytes: int | None = None
    max_background_processes: int | None = None
    max_storage_bytes: int | None = None
    max_cpu_secs_per_minute: int | None = None

    def named(self) -> dict[str, int]:
        """Those that are named."""
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in pairs if value is not None}


class AgentCreate(Params, frozen=True, kw_only=True):
    """`unsafe_admin` and `quotas` are ours."""

    name: Name
    groups: Names = ()
    grants: Capabilities = ()
    unsafe_admin: bool = False
    quotas: QuotaFields = QuotaFields()


class AgentModify(ForPrincipal, frozen=True, kw_only=True):
    """Groups to leave, then groups to join."""

    add_groups: Names = ()
    remove_groups: Names = ()


class QuotaSet(ForPrincipal, frozen=True, kw_only=True):
    """All limits anew; with `patch`, which is ours, only those that are named."""

    quotas: QuotaFields
    patch: bool = False


class GroupCreate(Params, frozen=True, kw_only=True):
    """A group and what its members may do."""

    name: Name
    capabilities: Capabilities
    description: Description | None = None
    unsafe_admin: bool = False


class GroupModify(Params, frozen=True, kw_only=True):
    """What is absent is kept; the two lists that add and remove are ours."""

    name: Name
    capabilities: Capabilities | None = None
    add_capabilities: Capabilities = ()
    remove_capabilities: Capabilities = ()
    description: Description | None = None
    unsafe_admin: bool | None = None


class GroupDelete(Params, frozen=True, kw_only=True):
    """A group by name."""

    name: Name


class CapsRevoke(ForPrincipal, frozen=True, kw_only=True):
    """Capability patterns of a principal."""

    capabilities: Capabilities


class CapsGrant(CapsRevoke, frozen=True, kw_only=True):
    """The same; `unsafe_admin` lets a pattern through that covers everything."""

    unsafe_admin: bool = False


class TokenMint(ForPrincipal, frozen=True, kw_only=True):
    """A token for a principal; with `keep`, it is put into its store instead of handed out."""

    resource: Resource
    permissions: Permissions = ("invoke",)
    life_secs: int | None = None
    single_use: bool = False
    keep: bool = False


class TokenRevoke(Params, frozen=True, kw_only=True):
    """A token by its id, with all that were derived from it."""

    id: UUID
    reason: Description = ""


class AllowanceRemove(ForPrincipal, frozen=True, kw_only=True):
    """An allowance of a principal by its id, which is that of the approval it came from."""

    id: UUID


class TokenAdd(Params, frozen=True, kw_only=True):
    """A token that the caller was handed."""

    secrets: ClassVar[frozenset[str]] = frozenset({"token"})
    token: Resource


class SecretSet(ForPrincipal, frozen=True, kw_only=True):
    """`shared` keeps it for every principal that has none of its own."""

    secrets: ClassVar[frozenset[str]] = frozenset({"value"})
    capsule: Name
    key: Name
    value: Annotated[str, Meta(max_length=_MAX_SECRET)]
    shared: bool = False


class SecretDelete(ForPrincipal, frozen=True, kw_only=True):
    """A secret of a capsule."""

    capsule: Name
    key: Name
    shared: bool = False


class SecretMigrate(Params, frozen=True, kw_only=True):
    """The store that every secret goes to."""

    to: Name


class AdminMethod(NamedTuple):
    """What there is to know about a method.

    Attributes:
        suffix: Of its topic, and of its name in the audit log.
        right: The management capability that it needs.
        params: The type of its parameters.
        own_right: What it needs instead when the caller asks about itself; None for the same.
        changes: Whether it changes anything.
        per_minute: How often one principal may use it; None for no bound.
        is_ours: Whether the reference does not have it.
    """

    suffix: str
    right: str
    params: type[Params]
    own_right: str | None = None
    changes: bool = True
    per_minute: int | None = _PER_MINUTE
    is_ours: bool = False

    @property
    def name(self) -> str:
        """As the audit log and policies name it."""
        return f"admin.{self.suffix}"


ADMIN_METHODS: Final[Mapping[str, AdminMethod]] = {
    "AgentCreate": AdminMethod("agent.create", "agent:create", AgentCreate),
    "AgentDelete": AdminMethod("agent.delete", "agent:delete", ForPrincipal),
    "AgentEnable": AdminMethod("agent.enable", "agent:enable", ForPrincipal),
    "AgentDisable": AdminMethod("agent.disable", "agent:disable", ForPrincipal),
    "AgentModify": AdminMethod("agent.modify", "agent:modify", AgentModify),
    "AgentList": AdminMethod(
        "agent.list", "self:agent:list", NoParams, changes=False, per_minute=None
    ),
    "QuotaSet": AdminMethod("quota.set", "quota:set", QuotaSet, own_right="self:quota:set"),
    "QuotaGet": AdminMethod(
        "quota.get",
        "quota:get",
        ForPrincipal,
        own_right="self:quota:get",
        changes=False,
        per_minute=None,
    ),
    "GroupCreate": AdminMethod("group.create", "group:create", GroupCreate),
    "GroupDelete": AdminMethod("group.delete", "group:delete", GroupDelete),
    "GroupModify": AdminMethod("group.modify", "group:modify", GroupModify),
    "GroupList": AdminMethod(
        "group.list", "self:group:list", NoParams, changes=False, per_minute=None
    ),
    "CapsGrant": AdminMethod("caps.grant", "caps:grant", CapsGrant),
    "CapsRevoke": AdminMethod("caps.revoke", "caps:revoke", CapsRevoke),
    "CapsUngrant": AdminMethod("caps.ungrant", "caps:revoke", CapsRevoke, is_ours=True),
    "CapsUnrevoke": AdminMethod("caps.unrevoke", "caps:grant", CapsRevoke, is_ours=True),
    "TokenMint": AdminMethod("token.mint", "token:mint", TokenMint, is_ours=True),
    "TokenAdd": AdminMethod("token.add", "self:token:add", TokenAdd, is_ours=True),
    "TokenRevoke": AdminMethod("token.revoke", "token:revoke", TokenRevoke, is_ours=True),
    "TokenList": AdminMethod(
        "token.list",
        "token:list",
        ForPrincipal,
        own_right="self:token:list",
        changes=False,
        per_minute=None,
        is_ours=True,
    ),
    "SecretSet": AdminMethod(
        "secret.set", "secret:set", SecretSet, own_right="self:secret:set", is_ours=True
    ),
    "SecretDelete": AdminMethod(
        "secret.delete", "secret:delete", SecretDelete, own_right="self:secret:delete", is_ours=True
    ),
    "SecretList": AdminMethod(
        "secret.list",
        "secret:list",
        ForPrincipal,
        own_right="self:secret:list",
        changes=False,
        per_minute=None,
        is_ours=True,
    ),
    "SecretMigrate": AdminMethod("secret.migrate", "secret:migrate", SecretMigrate, is_ours=True),
    "ApprovalList": AdminMethod(
        "approval.list",
        "approval:list",
        ForPrincipal,
        own_right="self:approval:list",
        changes=False,
        per_minute=None,
        is_ours=True,
    ),
    "AllowanceList": AdminMethod(
        "allowance.list",
        "allowance:list",
        ForPrincipal,
        own_right="self:allowance:list",
        changes=False,
        per_minute=None,
        is_ours=True,
    ),
    "AllowanceRemove": AdminMethod(
        "allowance.remove",
        "allowance:remove",
        AllowanceRemove,
        own_right="self:allowance:remove",
        is_ours=True,
    ),
}
"""Taking a grant back lowers what somebody may do, so it needs the right to revoke; taking a revoke
back raises it, so it needs the right to grant."""

ALL_AGENTS_RIGHT: Final = "agent:list"
"""Shows every row of `AgentList`; without it a caller sees its own. Spec: 16 D-25."""


class AdminRequest(NamedTuple):
    """A management request whose form and types are right.

    Attributes:
        method: A key of `ADMIN_METHODS`.
        params: Of the method's own type.
    """

    method: str
    params: Params

    @property
    def target(self) -> str | None:
        """The principal that it is about, as the caller wrote it; None for none."""
        return self.params.principal if isinstance(self.params, ForPrincipal) else None

    @property
    def facts(self) -> dict[str, Any]:
        """What the audit log keeps of it, every default filled in."""
        params = msgspec.to_builtins(self.params)
        hidden = dict.fromkeys(self.params.secrets, "[secret]")
        return {"method": self.method, "params": {**params, **hidden}}

    def right_of(self, caller: str) -> str:
        """The capability that a caller needs for it."""
        needed = ADMIN_METHODS[self.method]
        is_own = needed.own_right is not None and self.target == caller
        return needed.own_right if is_own and needed.own_right else needed.right


def parse_admin_request(request: KernelRequest) -> AdminRequest:
    """Give a request's parameters their types.

    Args:
        request: Its method is a key of `ADMIN_METHODS`.

    Raises:
        RequestError: `request.params`, naming the one that is missing or has another type.
    """
    try:
        params = msgspec.convert(dict(request.params), ADMIN_METHODS[request.method].params)
    except msgspec.ValidationError as error:
        raise RequestError(
            f"the parameters of {request.method} are wrong: {error}",
            code="request.params",
            hint="docs/management.md lists the parameters of each method",
        ) from error
    return AdminRequest(request.method, params)
