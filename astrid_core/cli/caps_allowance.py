"""The commands of `astrid caps allowance`: what people agreed to, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.management import confirm, manage
from astrid_core.cli.output import current, describe

app = typer.Typer(help="List and take back what people agreed to.", add_completion=False)

PrincipalOption = Annotated[
    str | None, typer.Option("--of", help="Whose; the acting agent's unless given.")
]
_HEADERS: Final = ("ID", "COVERS", "USES", "LASTS")


@app.command("list")
@describe(example="astrid caps allowance list --of alice")
def list_allowances(*, of: PrincipalOption = None) -> None:
    """List what the capsules of an agent may do without asking again."""
    rows = manage("AllowanceList", principal=of or acting())
    output = current()
    output.result(rows, text=lambda: output.table(_HEADERS, [_cells(row) for row in rows]))


@app.command("remove")
@describe(example="astrid caps allowance remove 11111111-2222-4333-8444-555555555555")
def remove(
    allowance_id: Annotated[str, typer.Argument(help="The allowance's id.", metavar="ID")],
    *,
    of: PrincipalOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take an allowance back: the next time, a person is asked again."""
    confirm(f"Take allowance {allowance_id} back", yes=yes)
    data = manage("AllowanceRemove", principal=of or acting(), id=allowance_id)
    output = current()
    if data["changed"]:
        output.success(f"took {allowance_id} back")
    else:
        output.detail(f"{data['principal']} has no allowance {allowance_id}")
    output.result(data, text="")


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    pattern = dict(row["covers"])
    kind = pattern.pop("type")
    uses = row["uses_remaining"]
    lasts = "for this session" if row["session_only"] else "always"
    return (
        row["id"],
        f"{kind}: {' '.join(str(value) for value in pattern.values())}",
        "any number" if uses is None else str(uses),
        lasts if row["expires_at"] is None else "for a day",
    )
