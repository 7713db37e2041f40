"""`astrid doctor`: everything that has to be right, each with what to do when it is not.

Spec: cli-and-ux 5.11, 16 U-24, T-01, T-02.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated, Final

import typer

from astrid_core.cli.doctor_check import Check, Finding, run_checks
from astrid_core.cli.doctor_home import check_home_path, home_checks
from astrid_core.cli.output import current, describe
from astrid_core.kernel.home_path import resolve_home
from astrid_hookspecs.exits import EXIT_OK, EXIT_RUNTIME

_MARKS: Final = {"ok": ("[OK]", "32"), "warn": ("[WARN]", "33"), "fail": ("[FAIL]", "31")}


@describe(example="astrid doctor")
def doctor(
    *,
    no_daemon: Annotated[
        bool, typer.Option("--no-daemon", help="Do not ask the daemon anything.")
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Do what is safe: tighten permissions, remove leftovers.")
    ] = False,
) -> int:
    """Check the home, the daemon, settings, plugins, capsules and the machine.

    Starts nothing, and changes nothing without --fix. Ends with 1 when something is [FAIL].
    """
    findings = _look(no_daemon=no_daemon)
    if fix:
        for finding in findings:
            if finding.repair is not None:
                finding.repair()
        findings = _look(no_daemon=no_daemon)
    counts = Counter(finding.status for finding in findings)
    output = current()
    if output.is_json:
        checks = [finding.to_json() for finding in findings]
        output.result({"ok": not counts["fail"], "checks": checks})
    else:
        for finding in findings:
            _show(finding)
        output.styled([(f"{counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail", None)])
    return EXIT_RUNTIME if counts["fail"] else EXIT_OK


def _look(*, no_daemon: bool) -> list[Finding]:
    """Every finding; where the home's path is wrong, that one alone."""
    first = run_checks([Check("home", check_home_path)])
    if first[0].status == "fail":
        return first
    from astrid_core.cli.doctor_files import file_checks  # noqa: PLC0415 - few commands need it
    from astrid_core.cli.doctor_parts import part_checks  # noqa: PLC0415 - loads the plugin host

    home = resolve_home(os.environ)
    rest = [*home_checks(home), *file_checks(home), *part_checks(home, daemon=not no_daemon)]
    return first + run_checks(rest)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.status]
    output = current()
    output.styled([(f"{mark:6} {finding.name}: {finding.detail}", colour)])
    if finding.fix is not None and finding.status != "ok":
        output.detail(f"  fix: {finding.fix}")
