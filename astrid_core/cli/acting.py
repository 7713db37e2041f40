"""For whom a command acts: `--principal`, `ASTRID_PRINCIPAL`, the switched agent, the owner.

Spec: cli-and-ux 2.2.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from astrid_core.cli.context import home_path
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal, parse_principal

ENVIRONMENT: Final = "ASTRID_PRINCIPAL"
COMMANDS: Final = ("agent", "approvals", "caps", "group", "mcp", "quota", "secret", "stop")
"""Commands that act for an agent when they are told to."""

_chosen: contextvars.ContextVar[Principal | None] = contextvars.ContextVar(
    "principal", default=None
)


@contextlib.contextmanager
def choosing() -> Iterator[None]:
    """Forget at the end of the block what `choose` was told in it."""
    token = _chosen.set(None)
    try:
        yield
    finally:
        _chosen.reset(token)


def choose(name: str | None, *, command: str | None) -> None:
    """Take over `--principal`, if it was given.

    Args:
        name: The option's value.
        command: The command that is going to run.

    Raises:
        ConfigError: `principal.invalid`, or `cli.principal`: the command acts for the owner only,
            and would do what the agent may not.
    """
    if name is None:
        return
    if command is not None and command not in COMMANDS:
        raise ConfigError(
            f"'astrid {command}' acts for the owner; it cannot act as {name[:80]!r}",
            code="cli.principal",
            hint=f"--principal is for: {', '.join(COMMANDS)}",
        )
    _chosen.set(parse_principal(name))


def acting() -> Principal:
    """The principal for which the running command acts.

    Raises:
        ConfigError: The variable or the context file names no principal.
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if (named := os.environ.get(ENVIRONMENT)) is not None:
        return parse_principal(named)
    return _switched()


def context_path() -> Path:
    """The file that remembers the switched agent."""
    return home_path() / "run" / "cli-context.toml"


def _switched() -> Principal:
    path = context_path()
    if not os.path.lexists(path):
        return DEFAULT_PRINCIPAL
    # Imported here because they load a TOML reader.
    from astrid_core.config import read_document  # noqa: PLC0415
    from astrid_core.domain.toml_table import Table  # noqa: PLC0415

    document = read_document(path)
    name = None if document is None else Table.root(document).text("active_agent")
    if name is None:
        raise ConfigError(
            f"{path} names no active_agent",
            code="cli.context",
            hint="choose one with: astrid agent switch default",
        )
    return parse_principal(name)
