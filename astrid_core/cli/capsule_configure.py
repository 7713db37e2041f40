"""`astrid capsule configure`: answer what an installed capsule has not been told yet.

The same questions are asked before a tool is called on a terminal. Spec: cli-and-ux 10.1.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.attending import field_of, typed_answer
from astrid_core.cli.capsule_answers import given_answers
from astrid_core.cli.capsule_session import kernel_here
from astrid_core.cli.output import NeedsAnswerError, Output, current, describe
from astrid_core.cli.prompts import Raw, ask
from astrid_core.cli.signals import interruptible
from astrid_core.cli.terminal import Terminal, has_person
from astrid_core.cli.tool_call import acting_as, running_daemon
from astrid_core.domain.environment import OnboardingField, onboarding_field
from astrid_hookspecs.errors import AstridError, CapsuleNotFoundError

if TYPE_CHECKING:
    from astrid_core.daemon.client import DaemonClient
    from astrid_core.kernel.kernel import Kernel

CONFIGURE_TIMEOUT_S: Final = 60.0


@describe(example="astrid capsule configure weather --var region=eu")
def configure(
    name: Annotated[str, typer.Argument(help="Capsule name.")],
    *,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="KEY=VALUE", help="Answer one question; repeatable."),
    ] = None,
    variable_file: Annotated[
        Path | None,
        typer.Option("--var-file", help="Answers as JSON or KEY=VALUE lines; - for stdin."),
    ] = None,
) -> None:
    """Answer what a capsule asks, or change an answer; it is loaded again with it.

    Asks for what is missing; --var, --var-file and ASTRID_VAR_<KEY> answer without asking.
    """
    output = current()
    client = running_daemon(acting_as(None))
    if client is None:
        missing = asyncio.run(_here(name, variables, variable_file))
    else:
        with client:
            fields = questions_of(client, name)
            answers = _answers(fields, variables, variable_file, output=output)
            missing = _tell(client, name, answers)
    if missing:
        output.warning(f"{name} still lacks {', '.join(missing)}")
    else:
        output.success(f"{name} has all it asks for")
    output.result({"name": name, "missing": missing}, text="")


async def _here(name: str, variables: list[str] | None, variable_file: Path | None) -> list[str]:
    async with kernel_here() as kernel:
        fields = [onboarding_field(question) for question in kernel.unanswered(name)]
        with interruptible():
            answers = _answers(fields, variables, variable_file, output=current())
        return [question.key for question in await kernel.configure(name, answers)]


def questions_of(client: DaemonClient, name: str) -> list[OnboardingField]:
    """What a daemon's capsule has not been told yet.

    Raises:
        CapsuleNotFoundError: The daemon has no such capsule.
        RemoteError: The principal may not know.
    """
    for row in client.request("GetCapsuleMetadata").data:
        if row["name"] == name:
            return [field_of(found) for found in row["questions"]]
    raise CapsuleNotFoundError(
        f"the daemon has no capsule {name[:80]!r}", hint="'astrid ps' lists those it has"
    )


def ask_first(client: DaemonClient, name: str) -> None:
    """Ask a person what a daemon's capsule has not been told yet, before it is used."""
    fields = questions_of(client, name)
    if fields:
        _tell(client, name, ask_missing(fields, {}, terminal=_terminal(current())))


async def ask_first_here(kernel: Kernel, name: str) -> None:
    """The same for a kernel in this process; without a person, say what is missing."""
    try:
        missing = kernel.unanswered(name)
    except AstridError:  # the call itself says what is wrong
        return
    if not missing:
        return
    if not has_person() or current().is_json:
        keys = ", ".join(question.key for question in missing)
        current().warning(f"{name} lacks {keys}: astrid capsule configure {name}")
        return
    fields = [onboarding_field(question) for question in missing]
    with interruptible():
        answers = ask_missing(fields, {}, terminal=_terminal(current()))
    await kernel.configure(name, answers)


def ask_missing(
    fields: Iterable[OnboardingField], given: Mapping[str, str], *, terminal: Terminal
) -> dict[str, str]:
    """Ask for what is not given; returns both.

    Raises:
        UnansweredError: There is no usable answer.
    """
    answers = dict(given)
    for field in fields:
        if field.key not in answers:
            answers[field.key] = _ask_one(field, terminal)
    return answers


def _ask_one(field: OnboardingField, terminal: Terminal) -> str:
    def check(raw: Raw) -> str | None:
        if not raw and not isinstance(raw, list):
            return None
        answer = typed_answer(field, raw)
        values = answer.get("values")
        return answer["value"] if values is None else json.dumps(values, ensure_ascii=False)

    return ask(field, terminal, check=check)


def _answers(
    fields: list[OnboardingField],
    variables: list[str] | None,
    variable_file: Path | None,
    *,
    output: Output,
) -> dict[str, str]:
    keys = [field.key for field in fields]
    given = given_answers(keys, pairs=variables or [], file=variable_file, environ=os.environ)
    missing = [field for field in fields if field.key not in given]
    if not missing:
        return given
    if has_person() and not output.is_json:
        return ask_missing(fields, given, terminal=_terminal(output))
    if given:
        return given
    for field in missing:
        output.warning(f"missing: {field.key} - {field.prompt}")
    raise NeedsAnswerError(
        f"values for {', '.join(field.key for field in missing)} are needed",
        hint=f"pass --var {missing[0].key}=... or --var-file FILE",
    )


def _tell(client: DaemonClient, name: str, answers: Mapping[str, str]) -> list[str]:
    params: dict[str, Any] = {"name": name, "answers": dict(answers)}
    reply = client.request("ConfigureCapsule", params, timeout_s=CONFIGURE_TIMEOUT_S)
    missing: list[str] = reply.data["missing"]
    return missing


def _terminal(output: Output) -> Terminal:
    return Terminal(output.stderr)
