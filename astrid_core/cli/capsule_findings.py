"""How findings about a capsule are shown."""

from __future__ import annotations

from collections.abc import Iterable

from astrid_core.cli.output import Output
from astrid_hookspecs.builders import Finding


def place(finding: Finding) -> str:
    """`file:line`, as editors understand it."""
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"


def line(finding: Finding) -> str:
    """One finding for people."""
    return f"{place(finding)}: {finding.message} ({finding.rule})"


def show_findings(findings: Iterable[Finding], *, output: Output) -> None:
    """Print findings on stderr, errors first."""
    for finding in sorted(findings, key=_order):
        if finding.severity == "error":
            output.error(line(finding))
        else:
            output.warning(line(finding))


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by place; each once."""
    return sorted(dict.fromkeys(findings), key=_order)


def _order(finding: Finding) -> tuple[bool, str, int, str]:
    return (finding.severity != "error", finding.file, finding.line or 0, finding.rule)
