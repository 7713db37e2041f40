"""Hook implementations of the kit: it adds `astrid plugins check`."""

from __future__ import annotations

from typing import Any

from astrid_hookspecs import hookimpl
from astrid_hookspecs.commands import CommandGroupRecord


def _command() -> Any:
    from astrid_conformance.command import check  # noqa: PLC0415 - loads every check

    return check


@hookimpl
def astrid_register_commands() -> list[CommandGroupRecord]:
    """Declare `astrid plugins check`."""
    return [
        CommandGroupRecord(
            name="plugins.check", help="Run the conformance kit against a plugin.", factory=_command
        )
    ]
