"""The commands of `astrid caps` that show and change rights. Spec: cli-and-ux 5.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.agent import agent_row
from astrid_core.cli.management import Manage, manage, management
from astrid_core.cli.output import current, describe
from astrid_core.domain.capability import (
    Decision,
    Group,
    Outcome,
    decide,
    is_universal,
    matches,
    parse_capability,
)
from astrid_core.domain.profile import Profile
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.exits import EXIT_RUNTIME, EXIT_USAGE

NameArgument = Annotated[str, typer.Argument(help="The agent's id.")]
OwnNameArgument = Annotated[str | None, typer.Argument(help="The agent's id; the acting one's.")]
CapabilityArgument = Annotated[
    list[str], typer.Argument(help="Such as system:status or network:egress:*.", metavar="CAP...")
]

_HEADERS: Final = ("CAPABILITY", "SOURCE", "STATUS")


class UnmeantGrantError(ConfigError):
    """A grant that covers everything, without the flag that says that it is meant."""

    default_code = "principal.unsafe"
    exit_code = EXIT_USAGE


@describe(example="astrid caps list default")
def list_rights(name: OwnNameArgument = None) -> None:
    """List what an agent may do: its grants, those of its groups, and what is revoked."""
    output = current()
    with management() as ask:
        rows = _effective(agent_row(ask, name or acting()), _groups(ask))
    output.result(rows, text=lambda: output.table(_HEADERS, [[*row.values()] for row in rows]))


@describe(example="astrid caps show default")
def show(
    name: OwnNameArgument = None,
    *,
    effective: Annotated[
        bool, typer.Option("--effective", help="Groups expanded; the same as 'caps list'.")
    ] = False,
) -> None:
    """Show the groups, grants and revokes of an agent as they are written."""
    if effective:
        list_rights(name)
        return
    output = current()
    row = agent_row(manage, name or acting())
    rows = [(f"(group: {group})", "group", "inherited") for group in row["groups"]]
    rows += [(right, "individual grant", _status(row, right)) for right in row["grants"]]
    rows += [(right, "individual revoke", "revoked") for right in row["revokes"]]
    shown = {key: row[key] for key in ("principal", "groups", "grants", "revokes")}
    output.result(shown, text=lambda: output.table(_HEADERS, rows))


@describe(example="astrid caps grant alice system:status")
def grant(
    name: NameArgument,
    capabilities: CapabilityArgument,
    *,
    unsafe_admin: Annotated[
        bool, typer.Option("--unsafe-admin", help="Let a grant through that covers everything.")
    ] = False,
) -> None:
    """Give rights to an agent; what is revoked stays revoked."""
    for one in capabilities:
        if is_universal(one) and not unsafe_admin:
            raise UnmeantGrantError(
                f"{one!r} lets {name} do everything",
                hint="name what it needs, or add --unsafe-admin if you mean it",
            )
    _change("CapsGrant", name, capabilities, "granted to", unsafe_admin=unsafe_admin)


@describe(example="astrid caps revoke alice system:status")
def revoke(name: NameArgument, capabilities: CapabilityArgument) -> None:
    """Deny rights to an agent, whatever it is granted and whatever its groups have."""
    _change("CapsRevoke", name, capabilities, "revoked for")


@describe(example="astrid caps ungrant alice system:status")
def ungrant(name: NameArgument, capabilities: CapabilityArgument) -> None:
    """Take grants back; an agent keeps what its groups give."""
    _change("CapsUngrant", name, capabilities, "no longer granted to")


@describe(example="astrid caps unrevoke alice system:status")
def unrevoke(name: NameArgument, capabilities: CapabilityArgument) -> None:
    """Take revokes back; what is granted applies again."""
    _change("CapsUnrevoke", name, capabilities, "no longer revoked for")


@describe(example="astrid caps check default system:status")
def check(
    name: NameArgument,
    capability: Annotated[str, typer.Argument(help="A right without wildcards.")],
) -> None:
    """Say whether an agent holds a right, and why; status 1 when it does not.

    Policies of plugins are not asked: 'astrid caps explain' does that.
    """
    with management() as ask:
        row = agent_row(ask, name)
        groups = _groups(ask)
    decision = decide(_holder(row), parse_capability(capability), groups=groups)
    verdict = "allowed" if decision.is_allowed else "denied"
    why = _why(decision)
    current().result(
        {
            "principal": name,
            "capability": capability,
            "allowed": decision.is_allowed,
            "source": decision.outcome.value,
            "pattern": decision.pattern or None,
            "group": decision.group or None,
        },
        text=f"{verdict}: {why}",
    )
    if not decision.is_allowed:
        raise typer.Exit(EXIT_RUNTIME)


def _change(method: str, name: str, capabilities: Sequence[str], verb: str, **more: object) -> None:
    data = manage(method, principal=name, capabilities=list(capabilities), **more)
    output = current()
    output.success(f"{verb} {name}: {', '.join(capabilities)}")
    output.result(data, text="")


def _groups(ask: Manage) -> dict[str, Group]:
    return {row["name"]: Group(tuple(row["capabilities"])) for row in ask("GroupList")}


def _holder(row: Mapping[str, Any]) -> Profile:
    return Profile(
        enabled=row["enabled"],
        groups=tuple(row["groups"]),
        grants=tuple(row["grants"]),
        revokes=tuple(row["revokes"]),
    )


def _effective(row: Mapping[str, Any], groups: Mapping[str, Group]) -> list[dict[str, str]]:
    found = [(right, "grant") for right in row["grants"]]
    for name in row["groups"]:
        rights = groups[name].capabilities if name in groups else ()
        found += [(right, f"group {name}") for right in rights]
    rows = [
        {"capability": right, "source": source, "status": _status(row, right)}
        for right, source in found
    ]
    rows += [
        {"capability": right, "source": "revoke", "status": "revoked"} for right in row["revokes"]
    ]
    return rows


def _status(row: Mapping[str, Any], right: str) -> str:
    if not row["enabled"]:
        return "disabled"
    return "shadowed" if any(matches(one, right) for one in row["revokes"]) else "active"


def _why(decision: Decision) -> str:
    reasons = {
        Outcome.GRANTED: f"granted by {decision.pattern}",
        Outcome.GROUP: f"group {decision.group} has {decision.pattern}",
        Outcome.REVOKED: f"revoked by {decision.pattern}",
        Outcome.DISABLED: "the agent is disabled",
        Outcome.MISSING: "no grant and no group has it",
    }
    return reasons[decision.outcome]
