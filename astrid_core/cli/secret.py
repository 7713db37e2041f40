"""`astrid secret`: values that capsules need and nobody else may see.

Trusted with values on their way in: they come from a hidden prompt, standard input or a file
descriptor, never from an argument, which others on the machine can read. None is ever shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.management import manage
from astrid_core.cli.output import NeedsAnswerError, current, describe
from astrid_core.cli.terminal import Terminal, has_person
from astrid_hookspecs.errors import ConfigError

app = typer.Typer(help="Set, list, delete and move secrets of capsules.", add_completion=False)

_HEADERS: Final = ("CAPSULE", "KEY", "STORAGE", "SCOPE")
_MAX_BYTES: Final = 65_536

KeyArgument = Annotated[str, typer.Argument(help="Name of the secret, as the manifest has it.")]
CapsuleOption = Annotated[str, typer.Option("--capsule", help="The capsule that gets it.")]
AgentOption = Annotated[
    str | None, typer.Option("--agent", "-a", help="Whose; the acting agent's unless given.")
]
SharedOption = Annotated[
    bool, typer.Option("--shared", help="For every agent that has none of its own.")
]


@app.command("set")
@describe(example="astrid secret set API_KEY --capsule web-notes --stdin")
def set_(
    key: KeyArgument,
    *,
    capsule: CapsuleOption,
    agent: AgentOption = None,
    shared: SharedOption = False,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the value from standard input, to its end.")
    ] = False,
    fd: Annotated[
        int | None, typer.Option("--fd", min=3, help="Read the value from this file descriptor.")
    ] = None,
) -> None:
    """Set a secret. Without --stdin or --fd the value is asked for and not echoed."""
    done = manage(
        "SecretSet",
        principal=agent or acting(),
        capsule=capsule,
        key=key,
        value=_value(stdin=stdin, fd=fd),
        shared=shared,
    )
    output = current()
    output.success(f"{key} of {capsule} is kept in {done['storage']}")
    output.result(done, text="")


@app.command("list")
@describe(example="astrid secret list --agent alice")
def list_(*, agent: AgentOption = None) -> None:
    """List names of secrets, the agent's and those that are shared. Values are never shown."""
    rows = manage("SecretList", principal=agent or acting())
    output = current()
    if not rows:
        output.info("there are no secrets")
    output.result(rows, text=lambda: output.table(_HEADERS, _cells(rows)))


@app.command("delete")
@describe(example="astrid secret delete API_KEY --capsule web-notes")
def delete(
    key: KeyArgument,
    *,
    capsule: CapsuleOption,
    agent: AgentOption = None,
    shared: SharedOption = False,
) -> None:
    """Delete a secret."""
    done = manage(
        "SecretDelete", principal=agent or acting(), capsule=capsule, key=key, shared=shared
    )
    output = current()
    output.success(f"{key} of {capsule} is deleted")
    output.result(done, text="")


@app.command("migrate")
@describe(example="astrid secret migrate --to encrypted-file")
def migrate(
    *,
    to: Annotated[
        str, typer.Option("--to", help="Name of a store: 'astrid plugins list' shows them.")
    ],
) -> None:
    """Move every secret to another store; each is read back before the old one is removed."""
    done = manage("SecretMigrate", to=to)
    output = current()
    output.success(f"{done['moved']} secrets are in {done['to']} now")
    output.result(done, text="")


def _cells(rows: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    return [(row["capsule"], row["key"], row["storage"], row["scope"]) for row in rows]


def _asked() -> str:
    if not has_person():
        raise NeedsAnswerError(
            "nobody can be asked for the value", hint="give it with --stdin, or with --fd"
        )
    return Terminal(sys.stderr).line("Value: ", hidden=True)


def _value(*, stdin: bool, fd: int | None) -> str:
    if stdin and fd is not None:
        raise ConfigError("--stdin and --fd exclude each other", code="cli.usage")
    if fd is not None:
        try:
            with os.fdopen(fd, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(
                f"file descriptor {fd} cannot be read: {error.strerror}", code="secret.value"
            ) from error
    elif stdin:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    else:
        return _asked()
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"a secret has at most {_MAX_BYTES} bytes", code="secret.size")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("a secret is text", code="secret.value") from error
