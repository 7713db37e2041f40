"""The executable contract of Astrid plugins: checks that a plugin runs against itself.

`checks` holds the checks, free of pytest; `suites` the same as pytest classes; `fakes` the kernel's
side of the contract for tests. `astrid plugins check NAME` and `python -m astrid_conformance NAME`
run them against an installed plugin.
"""

from __future__ import annotations

from astrid_conformance.check import (
    Check,
    CheckList,
    ConformanceError,
    Outcome,
    Report,
    Result,
    SkippedError,
    run_check,
)

__all__ = [
    "Check",
    "CheckList",
    "ConformanceError",
    "Outcome",
    "Report",
    "Result",
    "SkippedError",
    "run_check",
]
