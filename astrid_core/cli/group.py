"""`astrid group`: named sets of rights. Spec: cli-and-ux 5.3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.agent import split_list
from astrid_core.cli.management import Manage, confirm, manage, management
from astrid_core.cli.output import current, describe
from astrid_hookspecs.errors import ConfigError

app = typer.Typer(help="Create, change, list and remove groups.", add_completion=False)

NameArgument = Annotated[str, typer.Argument(help="The group's name.")]
DescriptionOption = Annotated[
    str | None, typer.Option("--description", help="What it is for; empty to clear.")
]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe-admin", help="Members may do everything, and you mean it.")
]
_HEADERS: Final = ("GROUP", "TYPE", "CAPABILITIES")
_SHOWN: Final = 3


@app.command("create")
@describe(example="astrid group create ops --caps system:status")
def create(
    name: NameArgument,
    *,
    caps: Annotated[
        str | None, typer.Option("--caps", help="What members may do, joined by commas.")
    ] = None,
    description: DescriptionOption = None,
    unsafe_admin: UnsafeOption = False,
) -> None:
    """Make a group."""
    if caps is None:
        raise ConfigError(
            "a group needs capabilities",
            code="cli.nothing-to-do",
            hint="add for instance --caps system:status,self:capsule:list",
        )
    data = manage(
        "GroupCreate",
        name=name,
        capabilities=split_list(caps),
        description=description,
        unsafe_admin=unsafe_admin,
    )
    output = current()
    output.success(f"created group {name}")
    output.result(data, text="")


@app.command("list")
@describe(example="astrid group list")
def list_groups() -> None:
    """List every group, the built-in ones first."""
    output = current()
    rows = manage("GroupList")
    output.result(rows, text=lambda: output.table(_HEADERS, [_cells(row) for row in rows]))


@app.command("show")
@describe(example="astrid group show agent")
def show(name: NameArgument) -> None:
    """Show one group with everything its members may do."""
    row = _group(manage, name)
    current().result(row, text=lambda: _as_text(row))


@app.command("modify")
@describe(example="astrid group modify ops --add-caps system:shutdown")
def modify(
    name: NameArgument,
    *,
    add: Annotated[str | None, typer.Option("--add-caps", help="To add, by commas.")] = None,
    remove: Annotated[str | None, typer.Option("--remove-caps", help="To take out.")] = None,
    description: DescriptionOption = None,
    unsafe_admin: UnsafeOption = False,
) -> None:
    """Change what the members of a group may do, from their next action on."""
    if add is None and remove is None and description is None and not unsafe_admin:
        raise ConfigError(
            "nothing to change was named",
            code="cli.nothing-to-do",
            hint="add --add-caps, --remove-caps or --description",
        )
    data = manage(
        "GroupModify",
        name=name,
        add_capabilities=split_list(add),
        remove_capabilities=split_list(remove),
        description=description,
        unsafe_admin=True if unsafe_admin else None,
    )
    output = current()
    output.success(f"changed group {name}")
    output.result(data, text="")


@app.command("delete")
@describe(example="astrid group delete ops --yes")
def delete(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a group; its members lose what it gave."""
    output = current()
    with management() as ask:
        if not _group(ask, name)["builtin"]:  # the kernel says better why those stay
            members = [row["principal"] for row in ask("AgentList") if name in row["groups"]]
            listed = f" with the members {', '.join(members)}" if members else ""
            confirm(f"Delete group {name}{listed}", yes=yes)
        data = ask("GroupDelete", name=name)
    output.success(f"deleted group {name}")
    output.result(data, text="")


def _group(ask: Manage, name: str) -> dict[str, Any]:
    for row in ask("GroupList"):
        if row["name"] == name:
            return dict(row)
    raise ConfigError(
        f"there is no group {name[:80]!r}",
        code="principal.not-found",
        hint="'astrid group list' shows which there are",
    )


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    caps = row["capabilities"]
    shown = ", ".join(caps[:_SHOWN]) or "—"
    if len(caps) > _SHOWN:
        shown += f", ... ({len(caps)} in all)"
    return row["name"], "built-in" if row["builtin"] else "custom", shown


def _as_text(row: Mapping[str, Any]) -> str:
    lines = [f"group  {row['name']} ({'built-in' if row['builtin'] else 'custom'})"]
    if row.get("description"):
        lines.append(f"       {row['description']}")
    if "*" in row["capabilities"]:
        lines.append("       members may do everything")
    lines += [f"  {right}" for right in row["capabilities"]]
    return "\n".join(lines)
