"""`astrid capsule install`: build if need be, show what is asked for, ask, install, report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid_core.cli.attended import attend
from astrid_core.cli.attending import Attendant, Policy
from astrid_core.cli.capsule_answers import ask_for, given_answers, keys_of, split_given
from astrid_core.cli.capsule_session import (
    Workbench,
    WorkspaceOption,
    YesOption,
    plugin_registry,
    terminal_can_answer,
    workbench,
    workspace,
)
from astrid_core.cli.output import NeedsAnswerError, Output, current, describe
from astrid_core.cli.terminal import Terminal
from astrid_core.kernel.install.answers import no_store
from astrid_core.kernel.install.installed import InstalledCapsule, discover
from astrid_core.kernel.install.sources import Source, find_source
from astrid_hookspecs.errors import AstridError, CapsuleError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL

if TYPE_CHECKING:
    from astrid_core.kernel.install.answers import Answers
    from astrid_core.kernel.install.installer import InstallResult, Staged


@describe(example="astrid capsule install ./dist/weather.capsule --yes")
def install(
    source: Annotated[
        str, typer.Argument(help="A .capsule file, a capsule's directory, or a source tree.")
    ],
    *,
    in_workspace: WorkspaceOption = False,
    yes: YesOption = False,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="KEY=VALUE", help="Answer one question; repeatable."),
    ] = None,
    variable_file: Annotated[
        Path | None,
        typer.Option("--var-file", help="Answers as JSON or KEY=VALUE lines; - for stdin."),
    ] = None,
) -> None:
    """Install a capsule, or upgrade the installed one.

    Shows what the capsule asks for and asks once; an upgrade asks only for what is new. Without a
    terminal, --yes agrees; answers come from --var, --var-file and ASTRID_VAR_<KEY>.
    """
    output = current()
    found = find_source(source, cwd=Path.cwd())
    with ExitStack() as cleanup:
        ready = _built(found, cleanup, output)  # before the lock: it can take a while
        bench = cleanup.enter_context(workbench())
        result = _install(
            bench,
            ready,
            in_workspace=in_workspace,
            yes=yes,
            pairs=variables or [],
            file=variable_file,
            output=output,
        )
        _report(bench, result, output)


def _install(
    bench: Workbench,
    source: Source,
    *,
    in_workspace: bool,
    yes: bool,
    pairs: list[str],
    file: Path | None,
    output: Output,
) -> InstallResult:
    from astrid_core.kernel.install.installer import stage  # noqa: PLC0415 - loads the installer

    place = bench.place(in_workspace=in_workspace)
    with stage(bench.home, source, tools=bench.tools, place=place) as staged:
        given = given_answers(keys_of(staged.manifest), pairs=pairs, file=file, environ=os.environ)
        for_env, for_hook = split_given(staged.manifest, given)
        answers = agree(staged, for_env, yes=yes, output=output)
        return _commit(bench, staged, answers, Policy(values=for_hook), output)


def _commit(
    bench: Workbench, staged: Staged, answers: Answers, policy: Policy, output: Output
) -> InstallResult:
    """Install, and answer what the capsule's hook asks."""
    from astrid_core.kernel.clients import ClientAccess  # noqa: PLC0415 - loads the kernel

    is_asked = terminal_can_answer(is_json=output.is_json)
    terminal = Terminal(output.stderr or sys.stderr) if is_asked else None
    with output.progress() as progress:
        attendant = Attendant(output, policy=policy, terminal=terminal, paused=progress.paused)
        try:
            result = attend(
                partial(staged.commit, answers, progress=progress),
                clients=ClientAccess(bench.parts),
                principal=DEFAULT_PRINCIPAL,
                attendant=attendant,
            )
        except AstridError as error:
            if attendant.unanswered and not is_asked:
                raise _needs_values(staged.name, attendant.unanswered) from error
            raise
    for key in sorted(set(policy.values) - attendant.used):
        output.warning(f"nothing has asked for {key}")
    return result


def _needs_values(name: str, unanswered: Mapping[str, str]) -> NeedsAnswerError:
    keys = list(unanswered)
    return NeedsAnswerError(
        f"{name} needs values for {', '.join(keys)}; nothing was installed",
        hint=f"pass --var {keys[0]}=..., --var-file FILE, or set ASTRID_VAR_{keys[0].upper()}",
    )


def _built(source: Source, cleanup: ExitStack, output: Output) -> Source:
    """The source itself, or what its builder makes of it."""
    from astrid_core.cli.capsule_project import build_into  # noqa: PLC0415 - loads the builders
    from astrid_core.kernel.build import find_builder  # noqa: PLC0415

    if source.kind == "archive":
        return source
    registry = plugin_registry()
    if find_builder(registry, source.path) is None:
        return source
    built = cleanup.enter_context(build_into(registry, source.path, output=output))
    return Source(built.directory, "directory")


def agree(staged: Staged, given: dict[str, str], *, yes: bool, output: Output) -> Answers:
    """Show what is asked for, get consent and answers.

    Raises:
        NeedsAnswerError: Something is needed and nobody can be asked; names all of it.
        CapsuleError: `capsule.declined`, `capsule.cancelled` or `capsule.answer`.
        SecretError: `secret.no-store`.
    """
    added = staged.consent.added
    title = f"{staged.name} {staged.manifest.package.version}"
    if added and not output.is_json:
        upgrade = staged.previous is not None
        output.info(f"{title} asks, beyond what you agreed to, to:" if upgrade
                    else f"{title} asks to:")  # fmt: skip
        for request in added:
            output.info(f"  {request.sentence}")
    answers = staged.answers(given)
    if not staged.can_keep_secrets and any(item.is_secret for item in answers.missing):
        raise no_store()  # before anybody types one
    if not terminal_can_answer(is_json=output.is_json):
        _refuse_unasked(staged, answers, needs_consent=bool(added) and not yes, output=output)
        return answers
    if added and not output.confirm(f"Install {title}", assume_yes=yes):
        raise CapsuleError("not installed: you said no", code="capsule.declined")
    return staged.answers(ask_for(staged, given, output=output, use_defaults=yes))


def _refuse_unasked(
    staged: Staged, answers: Answers, *, needs_consent: bool, output: Output
) -> None:
    """Name everything that is needed at once, so that one more attempt is enough (T-28)."""
    needs: list[str] = []
    hints: list[str] = []
    if needs_consent:
        asked = "; ".join(request.sentence for request in staged.consent.added)
        needs.append(f"your consent: it asks to {asked}")
        hints.append("--yes agrees to everything it asks for")
    if answers.missing:
        keys = [question.key for question in answers.missing]
        for question in answers.missing:
            output.warning(f"missing: {question.key} - {question.request}")
        needs.append(f"values for {', '.join(keys)}")
        hints.append(
            f"pass --var {keys[0]}=..., --var-file FILE, or set ASTRID_VAR_{keys[0].upper()}"
        )
    if needs:
        raise NeedsAnswerError(
            f"{staged.name} needs {' and '.join(needs)}; nothing was installed",
            hint="; ".join(hints),
        )


def _report(bench: Workbench, result: InstallResult, output: Output) -> None:
    capsule = result.capsule
    lacking = _unsatisfied(bench, capsule)
    value = {
        "outcome": result.outcome,
        "name": capsule.id,
        "version": capsule.meta.version,
        "previous_version": result.previous_version,
        "scope": capsule.scope,
        "location": capsule.directory,
        "wasm_hash": capsule.meta.wasm_hash,
        "tools": [f"{capsule.id}.{tool.name}" for tool in capsule.meta.tools],
        "requests": _requests(capsule),
        "loaded": False,
        "unsatisfied": lacking,
    }
    output.success(_sentence(result))
    output.result(value, text=lambda: _text(capsule))
    for wanted in lacking:
        output.warning(f"nothing installed provides {wanted}, which {capsule.id} imports")


def _sentence(result: InstallResult) -> str:
    title = f"{result.capsule.id} {result.capsule.meta.version}"
    if result.outcome == "unchanged":
        return f"{title} is installed already, nothing to do"
    before = f" (was {result.previous_version})" if result.outcome == "upgraded" else ""
    return f"{result.outcome} {title}{before}"


def _requests(capsule: InstalledCapsule) -> list[dict[str, Any]]:
    from astrid_core.kernel.install.consent import requests_of  # noqa: PLC0415 - with the kernel

    return [
        {"kind": request.kind, "value": request.value} for request in requests_of(capsule.manifest)
    ]


def _unsatisfied(bench: Workbench, capsule: InstalledCapsule) -> list[str]:
    from astrid_core.kernel.install.listing import dependency_tree  # noqa: PLC0415

    installed = discover(bench.home, workspace=workspace(), check_content=False).capsules
    tree = dependency_tree([item.manifest for item in installed])
    return [
        f"{interface} {requirement}"
        for name, interface, requirement in tree.unsatisfied
        if name == capsule.id
    ]


def _text(capsule: InstalledCapsule) -> str:
    tools = ", ".join(f"{capsule.id}.{tool.name}" for tool in capsule.meta.tools)
    lines = [f"  location  {capsule.directory}"]
    if tools:
        lines.append(f"  tools     {tools}")
    return "\n".join(lines)
