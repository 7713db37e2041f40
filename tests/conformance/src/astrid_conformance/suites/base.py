"""What all suites share: one test per check."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from astrid_conformance.check import Check, CheckList, Outcome, run_check


class Conformance:
    """Base of the suites; subclass one of those instead.

    Attributes:
        supports: Optional capabilities the implementation has.
        known_breaches: Checks that are expected to fail, with the reason; they fail the suite as
            soon as they pass, so that the list cannot outlive its reasons.
        checks: The checks of the kind, set by the suite.
    """

    supports: ClassVar[frozenset[str]] = frozenset()
    known_breaches: ClassVar[Mapping[str, str]] = MappingProxyType({})
    checks: ClassVar[CheckList[Any]]

    def subject(self, directory: Path) -> AbstractContextManager[Any]:
        """Make the subject of one check in an empty directory of mode 0700."""
        raise NotImplementedError

    def test_conforms(self, check: Check[Any], tmp_path: Path) -> None:
        """Run one check; pytest calls it once per check."""
        directory = tmp_path / "subject"
        directory.mkdir(mode=0o700, parents=True)
        result = run_check(check, lambda: self.subject(directory), supports=self.supports)
        reason = self.known_breaches.get(check.name)
        if reason is not None:
            if result.outcome is Outcome.FAILED:
                pytest.xfail(reason)
            pytest.fail(f"{check.name} passes now; take it out of known_breaches")
        if result.outcome is Outcome.SKIPPED:
            pytest.skip(result.detail)
        if result.outcome is Outcome.FAILED:
            pytest.fail(f"{check.promise}\n{result.detail}", pytrace=False)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each check."""
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", list(self.checks), ids=lambda check: check.name)
