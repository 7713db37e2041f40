"""One finding of `astrid doctor`, and how a check that fails by itself becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from astrid_hookspecs.errors import AstridError

Verdict = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        name: Of the check; stable.
        status: `fail` where Astrid will not work, `warn` where it works with less.
        detail: What was found.
        fix: What to do; None where nothing has to be done.
        repair: Does it, where that is safe; None where a person has to.
    """

    name: str
    status: Verdict
    detail: str
    fix: str | None = None
    repair: Callable[[], object] | None = None

    def to_json(self) -> dict[str, object]:
        """What programs read."""
        return {
            "name": self.name,
            "status": self.status,
            "detail": self.detail,
            "fix": self.fix,
            "can_repair": self.repair is not None,
        }


class Check(NamedTuple):
    """One check.

    Attributes:
        name: Stable.
        run: Looks; changes nothing.
    """

    name: str
    run: Callable[[], Finding]


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Run every check; one that raises has found the error that it raised."""
    return [_run(check) for check in checks]


def _run(check: Check) -> Finding:
    try:
        return check.run()
    except AstridError as error:
        return Finding(check.name, "fail", str(error), error.hint)
    except OSError as error:
        where = "" if error.filename is None else f": {error.filename}"
        return Finding(check.name, "fail", f"{error.strerror}{where}", "see who may read it")
