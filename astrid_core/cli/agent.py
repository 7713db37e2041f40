"""`astrid agent`: the principals for which capsules and clients act. Spec: cli-and-ux 5.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting, context_path
from astrid_core.cli.management import Manage, confirm, manage, management
from astrid_core.cli.output import current, describe
from astrid_core.cli.quota import (
    MemoryOption,
    ProcessesOption,
    StorageOption,
    TimeoutOption,
    named_limits,
)
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import parse_principal

app = typer.Typer(help="Create, change, list and remove agents.", add_completion=False)

NameArgument = Annotated[str, typer.Argument(help="The agent's id.")]
_HEADERS: Final = ("AGENT", "STATE", "GROUPS")


@app.command("create")
@describe(example="astrid agent create alice")
def create(
    name: NameArgument,
    *,
    groups: Annotated[
        list[str] | None,
        typer.Option("--group", help="A group it joins; 'agent' when none is named."),
    ] = None,
    grants: Annotated[
        list[str] | None, typer.Option("--grant", help="A right that it gets by itself.")
    ] = None,
    egress: Annotated[
        str | None, typer.Option("--egress", help="Hosts it may reach, joined by commas.")
    ] = None,
    process_allow: Annotated[
        str | None, typer.Option("--process-allow", help="Programs it may start, by commas.")
    ] = None,
    memory: MemoryOption = None,
    timeout: TimeoutOption = None,
    storage: StorageOption = None,
    processes: ProcessesOption = None,
    unsafe_admin: Annotated[
        bool, typer.Option("--unsafe-admin", help="Let a grant through that covers everything.")
    ] = False,
) -> None:
    """Make an agent with a profile, an identity and an empty home.

    It starts with nothing: no settings, data or secrets of another agent.
    """
    limits = named_limits(memory=memory, timeout=timeout, storage=storage, processes=processes)
    given = list(grants or ())
    given += [f"network:egress:{host}" for host in split_list(egress)]
    given += [f"process:spawn:{program}" for program in split_list(process_allow)]
    data = manage(
        "AgentCreate",
        name=name,
        groups=list(groups or ()),
        grants=given,
        unsafe_admin=unsafe_admin,
        quotas=limits,
    )
    output = current()
    output.success(f"created agent {name}")
    if limits:
        output.detail(f"{len(limits)} limits set")
    warn_of_unknown(data)
    output.result(data, text="")


@app.command("list")
@describe(example="astrid agent list")
def list_agents(
    *,
    group: Annotated[str | None, typer.Option("--group", help="Only members of it.")] = None,
) -> None:
    """List agents; without the right agent:list, only the acting one."""
    output = current()
    rows = [row for row in manage("AgentList") if group is None or group in row["groups"]]
    output.result(rows, text=lambda: output.table(_HEADERS, [_cells(row) for row in rows]))


@app.command("show")
@describe(example="astrid agent show default")
def show(
    name: Annotated[str | None, typer.Argument(help="The agent's id; the acting one's.")] = None,
) -> None:
    """Show one agent: its state, its groups, what it is granted and what is revoked."""
    row = agent_row(manage, name or acting())
    current().result(row, text=lambda: _as_text(row))


@app.command("enable")
@describe(example="astrid agent enable alice")
def enable(name: NameArgument) -> None:
    """Let an agent act again."""
    _switch("AgentEnable", name, "enabled")


@app.command("disable")
@describe(example="astrid agent disable alice")
def disable(name: NameArgument) -> None:
    """Refuse everything that an agent does, from its next action on."""
    _switch("AgentDisable", name, "disabled")


@app.command("modify")
@describe(example="astrid agent modify alice --add-group restricted")
def modify(
    name: NameArgument,
    *,
    add: Annotated[list[str] | None, typer.Option("--add-group", help="To join.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove-group", help="To leave.")] = None,
) -> None:
    """Change the groups of an agent."""
    if not add and not remove:
        raise ConfigError(
            "nothing to change was named",
            code="cli.nothing-to-do",
            hint="add --add-group or --remove-group",
        )
    data = manage(
        "AgentModify", principal=name, add_groups=list(add or ()), remove_groups=list(remove or ())
    )
    output = current()
    groups = ", ".join(data["groups"]) or "none"
    if data["changed"]:
        output.success(f"groups of {name}: {groups}")
    else:
        output.info(f"nothing changed; groups of {name}: {groups}")
    warn_of_unknown(data)
    output.result(data, text="")


@app.command("delete")
@describe(example="astrid agent delete alice --yes")
def delete(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an agent for good: its rights, its identity, its name.

    Its home directory stays, and nobody else gets the name.
    """
    output = current()
    with management() as ask:
        agent_row(ask, name)
        confirm(f"Delete agent {name} (its home directory stays)", yes=yes)
        data = ask("AgentDelete", principal=name)
    output.success(f"deleted agent {name}; its home directory stays")
    output.result(data, text="")


@app.command("current")
@describe(example="astrid agent current")
def show_current() -> None:
    """Print the acting agent's name."""
    current().result({"principal": acting()}, text=acting())


@app.command("switch")
@describe(example="astrid agent switch default")
def switch(name: NameArgument) -> None:
    """Let later management commands act as another agent."""
    from astrid_core.cli.capsule_session import open_home  # noqa: PLC0415 - loads the hash library
    from astrid_core.kernel.durable import write_atomic  # noqa: PLC0415

    who = parse_principal(name)
    open_home()
    write_atomic(context_path(), f'active_agent = "{who}"\n'.encode(), mode=0o600)
    output = current()
    output.success(f"commands act as {who} now")
    output.result({"principal": who}, text="")


def agent_row(ask: Manage, name: str) -> dict[str, Any]:
    """What the management API says about an agent.

    Raises:
        ConfigError: `principal.not-found`; or the acting agent does not see it; or the code of what
            is wrong with its profile.
    """
    for row in ask("AgentList"):
        if row["principal"] == name:
            _check_profile(row)
            return dict(row)
    raise ConfigError(
        f"there is no agent {name[:80]!r}, or you may not see it",
        code="principal.not-found",
        hint="'astrid agent list' shows those that you see; all of them need the right agent:list",
    )


def _check_profile(row: Mapping[str, Any]) -> None:
    problem = row.get("problem")
    if problem is not None:
        raise ConfigError(
            f"agent {row['principal']} can do nothing: {problem['message']}",
            code=problem["code"],
            hint=problem["hint"],
        )


def split_list(text: str | None) -> list[str]:
    """The items of a list that is joined by commas."""
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def warn_of_unknown(data: Mapping[str, Any]) -> None:
    """Say which groups do not exist, and therefore give nothing."""
    for group in data.get("unknown_groups", ()):
        current().warning(f"there is no group {group!r}: it gives nothing until it is created")


def _switch(method: str, name: str, state: str) -> None:
    data = manage(method, principal=name)
    output = current()
    output.success(f"agent {name} is {state}" + ("" if data["changed"] else " already"))
    output.result(data, text="")


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    state = "enabled" if row["enabled"] else "damaged" if "problem" in row else "disabled"
    return row["principal"], state, ", ".join(row["groups"]) or "—"


def _as_text(row: Mapping[str, Any]) -> str:
    lines = [
        f"agent   {row['principal']}",
        f"state   {'enabled' if row['enabled'] else 'disabled'}",
        f"groups  {', '.join(row['groups']) or '—'}",
    ]
    lines += [f"  + {right}" for right in row["grants"]]
    lines += [f"  - {right}" for right in row["revokes"]]
    return "\n".join(lines)
