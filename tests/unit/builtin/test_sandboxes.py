"""The built-in sandboxes keep the contract of the kit."""

from __future__ import annotations

import pytest

from astrid_conformance.suites import ProcessSandboxConformance
from astrid_core.builtin.sandbox.bubblewrap import Bubblewrap
from astrid_core.builtin.sandbox.landlock import Landlock

needs_landlock = pytest.mark.skipif(
    Landlock().unavailable_reason() is not None, reason="this machine has no Landlock"
)


class TestBubblewrap(ProcessSandboxConformance):
    def make(self) -> Bubblewrap:
        return Bubblewrap()


@needs_landlock
class TestLandlock(ProcessSandboxConformance):
    def make(self) -> Landlock:
        return Landlock()
