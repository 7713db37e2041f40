"""Reports as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from astrid_conformance.check import Outcome, Report, Result

_MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.SKIPPED: "-"}


def to_text(reports: Sequence[Report], *, verbose: bool = False) -> str:
    """One block per report: a summary line, then what failed or was skipped.

    Args:
        reports: What `check_plugin` returned.
        verbose: Whether to list the checks that passed as well.
    """
    return "\n".join(line for report in reports for line in _lines(report, verbose=verbose))


def _lines(report: Report, *, verbose: bool) -> list[str]:
    mark = _MARKS[Outcome.PASSED if report.conforms else Outcome.FAILED]
    counts = []
    for required, word in ((True, "required"), (False, "optional")):
        passed, failed, skipped = (
            report.count(outcome, required=required)
            for outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED)
        )
        if passed + failed + skipped:
            counts.append(f"{word}: {passed} passed, {failed} failed, {skipped} skipped")
    title = f"{mark} {report.kind} {report.name} ({report.distribution}) - {'; '.join(counts)}"
    reasons = {r.detail for r in report.results}
    if len(reasons) == 1 and all(r.outcome is Outcome.SKIPPED for r in report.results):
        return [f"- {report.kind} {report.name} ({report.distribution}) - {reasons.pop()}"]
    shown = [r for r in report.results if verbose or r.outcome is not Outcome.PASSED]
    return [title, *(_line(result) for result in shown)]


def _line(result: Result) -> str:
    detail = f": {result.detail}" if result.detail else ""
    return f"    {_MARKS[result.outcome]} {result.check}: {result.promise}{detail}"
