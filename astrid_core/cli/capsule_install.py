"""`astrid capsule install`: build if need be, show what is asked for, ask, install, report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from astrid_core.cli.attended import attend
from astrid_core.cli.attending import Attendant, Policy
from astrid_core.cli.capsule_answers import (
    Candidate,
    ask_for,
    given_answers,
    keys_of,
    split_given,
)
from astrid_core.cli.capsule_session import (
    Workbench,
    WorkspaceOption,
    YesOption,
    open_home,
    plugin_registry,
    terminal_can_answer,
    workbench,
    workspace,
)
from astrid_core.cli.output import NeedsAnswerError, Output, current, describe
from astrid_core.cli.terminal import Terminal
from astrid_core.cli.tool_call import acting_as, running_daemon
from astrid_core.kernel.install.answers import no_store
from astrid_core.kernel.install.installed import InstalledCapsule, discover
from astrid_core.kernel.install.places import Place, user_place, workspace_place
from astrid_core.kernel.install.sources import Source, find_source
from astrid_hookspecs.errors import AstridError, CapsuleError, ConfigError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL

if TYPE_CHECKING:
    from astrid_core.cli.progress import Display
    from astrid_core.daemon.client import DaemonClient
    from astrid_core.kernel.home import Home
    from astrid_core.kernel.install.answers import Answers
    from astrid_core.kernel.install.installer import Staged
    from astrid_core.kernel.install.model import InstallResult


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
        asked = _Asked(yes, tuple(variables or ()), variable_file)
        client = running_daemon(acting_as(None))
        if client is None:
            bench = cleanup.enter_context(workbench())
            result = _install(bench, ready, asked, in_workspace=in_workspace, output=output)
            _report(bench.home, result, output, is_loaded=False)
        else:
            cleanup.enter_context(client)
            home, place = open_home(), _place(client, in_workspace=in_workspace)
            result = _install_live(client, home, place, ready, asked)
            _report(home, result, output, is_loaded=True)


class _Asked(NamedTuple):
    """What the options say to what is asked."""

    yes: bool
    pairs: tuple[str, ...]
    file: Path | None


def _place(client: DaemonClient, *, in_workspace: bool) -> Place:
    """Where a daemon installs.

    Raises:
        ConfigError: It works on another project than the one somebody is in.
    """
    if not in_workspace:
        return user_place(open_home())
    there = client.request("GetStatus").data.get("workspace")
    if there != str(workspace()):
        raise ConfigError(
            f"the daemon's workspace is {there}, not {workspace()}",
            code="cli.workspace",
            hint="restart it here: astrid restart",
        )
    return workspace_place(workspace())


def _install_live(
    client: DaemonClient, home: Home, place: Place, source: Source, asked: _Asked
) -> InstallResult:
    """Have a daemon install it."""
    from astrid_core.cli import capsule_install_live as live  # noqa: PLC0415 - loads the installer

    output = current()
    staged = live.candidate(client, home, place, source)
    answers, for_hook = _agreed(staged, asked, output)
    output.info("the daemon installs it")
    with _attending(staged.name, for_hook, output) as attendant:
        return live.install_live(
            client, staged, answers, source=source, place=place, attendant=attendant
        )


def _install(
    bench: Workbench,
    source: Source,
    asked: _Asked,
    *,
    in_workspace: bool,
    output: Output,
) -> InstallResult:
    from astrid_core.kernel.install.installer import stage  # noqa: PLC0415 - loads the installer

    place = bench.place(in_workspace=in_workspace)
    with stage(bench.home, source, tools=bench.tools, place=place) as staged:
        answers, for_hook = _agreed(staged, asked, output)
        with output.progress() as progress:
            return _commit(bench, staged, answers, for_hook, progress)


def _agreed(staged: Candidate, asked: _Asked, output: Output) -> tuple[Answers, Mapping[str, str]]:
    """Consent and answers; and the answers that only its hook can ask for."""
    given = given_answers(
        keys_of(staged.manifest), pairs=asked.pairs, file=asked.file, environ=os.environ
    )
    for_env, for_hook = split_given(staged.manifest, given)
    return agree(staged, for_env, yes=asked.yes, output=output), for_hook


def _commit(
    bench: Workbench,
    staged: Staged,
    answers: Answers,
    for_hook: Mapping[str, str],
    progress: Display,
) -> InstallResult:
    """Install, and answer what the capsule's hook asks."""
    from astrid_core.kernel.clients import ClientAccess  # noqa: PLC0415 - loads the kernel

    with _attending(staged.name, for_hook, current(), paused=progress.paused) as attendant:
        return attend(
            lambda report: staged.commit(answers, progress=report),
            progress=progress,
            clients=ClientAccess(bench.parts),
            principal=DEFAULT_PRINCIPAL,
            attendant=attendant,
        )


@contextmanager
def _attending(
    name: str,
    for_hook: Mapping[str, str],
    output: Output,
    *,
    paused: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[Attendant]:
    """Who answers the hook of a capsule that is installed in the block.

    Raises:
        NeedsAnswerError: The installation failed, and nobody could be asked.
    """
    is_asked = terminal_can_answer(is_json=output.is_json)
    terminal = Terminal(output.stderr) if is_asked else None
    attendant = Attendant(output, policy=Policy(values=for_hook), terminal=terminal, paused=paused)
    try:
        yield attendant
    except AstridError as error:
        if attendant.unanswered and not is_asked:
            raise _needs_values(name, attendant.unanswered) from error
        raise
    for key in sorted(set(for_hook) - attendant.used):
        output.warning(f"nothing has asked for {key}")


def _needs_values(name: str, unanswered: Mapping[str, str]) -> NeedsAnswerError:
    keys = list(unanswered)
    return NeedsAnswerError(
        f"{name} needs values for {', '.join(keys)}; nothing was installed",
        hint=f"pass --var {keys[0]}=..., --var-file FILE, or set ASTRID_VAR_{keys[0].upper()}",
    )


def _built(source: Source, cleanup: ExitStack, output: Output) -> Source:
    """The source itself, or what its builder makes of it."""
    from astrid_core.cli.capsule_project import build_into  # noqa: PLC0415 - loads the builders
    from astrid_core.kernel.build import find_builder, refuse_unbuilt  # noqa: PLC0415

    if source.kind == "archive":
        return source
    registry = plugin_registry()
    if find_builder(registry, source.path) is None:
        refuse_unbuilt(registry, source.path)
        return source
    built = cleanup.enter_context(build_into(registry, source.path, output=output))
    return Source(built.directory, "directory")


def agree(staged: Candidate, given: dict[str, str], *, yes: bool, output: Output) -> Answers:
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
    staged: Candidate, answers: Answers, *, needs_consent: bool, output: Output
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


def _report(home: Home, result: InstallResult, output: Output, *, is_loaded: bool) -> None:
    capsule = result.capsule
    lacking = _unsatisfied(home, capsule)
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
        "loaded": is_loaded,
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


def _unsatisfied(home: Home, capsule: InstalledCapsule) -> list[str]:
    from astrid_core.kernel.install.listing import dependency_tree  # noqa: PLC0415

    installed = discover(home, workspace=workspace(), check_content=False).capsules
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
