"""Each check of process sandboxes rejects a sandbox that breaks just that promise."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.process_sandbox import PROCESS_SANDBOX, sandbox_subject
from astrid_hookspecs.sandboxes import ProcessSandbox, SandboxedCommand, SandboxRequest


class NoSandbox:
    """Runs everything as it is."""

    def unavailable_reason(self) -> str | None:
        return None

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        script = 'cd "$0" && exec "$@"'
        return SandboxedCommand(
            ("/bin/sh", "-c", script, str(request.cwd), *request.argv), request.environment
        )

    def signal_group(self, pid: int) -> int | None:
        return pid


class OtherDirectory(NoSandbox):
    def command(self, request: SandboxRequest) -> SandboxedCommand:
        return super().command(replace(request, cwd=Path("/")))


class ShowsVariables(NoSandbox):
    def command(self, request: SandboxRequest) -> SandboxedCommand:
        pairs = [f"{name}={value}" for name, value in request.environment.items()]
        return SandboxedCommand(("/usr/bin/env", "-i", *pairs, *request.argv), {})


class HidesExits(NoSandbox):
    def command(self, request: SandboxRequest) -> SandboxedCommand:
        script = f"{shlex.join(request.argv)} || exit 1"
        return super().command(replace(request, argv=("/bin/sh", "-c", script)))


class NamesNoGroup(NoSandbox):
    def signal_group(self, pid: int) -> int | None:
        del pid
        return None


class RefusesTheNetwork(NoSandbox):
    def command(self, request: SandboxRequest) -> SandboxedCommand:
        return super().command(replace(request, argv=("/bin/true",)))


BROKEN: dict[str, Callable[[], ProcessSandbox]] = {
    "processes-get-directory-and-environment": OtherDirectory,
    "the-command-shows-no-environment": ShowsVariables,
    "exits-are-told": HidesExits,
    "only-the-granted-trees-are-writable": NoSandbox,
    "hidden-trees-are-not-seen": NoSandbox,
    "other-processes-are-out-of-reach": NoSandbox,
    "the-network-needs-a-grant": NoSandbox,
    "limits-bind": NoSandbox,
    "signals-reach-the-process": NamesNoGroup,
    "killing-ends-everything": NoSandbox,
    "impossible-requests-are-refused": NoSandbox,
}


def rejects(name: str, factory: Callable[[], ProcessSandbox], tmp_path: Path) -> bool:
    check = PROCESS_SANDBOX.named(name)
    result = run_check(check, lambda: sandbox_subject(factory, tmp_path))
    return result.outcome is Outcome.FAILED


def test_every_check_has_a_broken_sandbox() -> None:
    assert {check.name for check in PROCESS_SANDBOX} == set(BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_a_sandbox_that_breaks_it(name: str, tmp_path: Path) -> None:
    assert rejects(name, BROKEN[name], tmp_path)


def test_a_sandbox_that_never_gives_the_network_is_rejected(tmp_path: Path) -> None:
    assert rejects("the-network-needs-a-grant", RefusesTheNetwork, tmp_path)
