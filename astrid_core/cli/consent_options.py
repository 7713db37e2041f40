"""The options with which a command that calls a tool answers what the tool asks for.

Spec: cli-and-ux 9.4.
"""

from __future__ import annotations

from typing import Annotated

import typer

from astrid_core.cli.call_questions import Consent
from astrid_core.domain.resource_pattern import ResourcePattern

ApproveAllOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Approve once whatever the tool asks for.")
]
ApproveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--approve",
        metavar="PATTERN",
        help="Approve once what matches 'ACTION' or 'ACTION RESOURCE'; repeatable.",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Without a terminal, wait a minute for an answer from elsewhere."),
]


def consent_of(*, yes: bool, approve: list[str] | None, wait: bool) -> Consent:
    """What the options say.

    Raises:
        PatternError: A pattern is malformed.
    """
    for text in approve or ():
        ResourcePattern(text)
    return Consent(yes, tuple(approve or ()), wait)
