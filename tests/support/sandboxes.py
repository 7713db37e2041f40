"""The sandboxes that work on this machine, for tests that start processes.

Where one does not work its tests are skipped; in CI (`CI` is set) bubblewrap has to.
"""

from __future__ import annotations

import functools
import os

import pytest

from astrid_core.builtin.sandbox.bubblewrap import Bubblewrap
from astrid_core.builtin.sandbox.landlock import Landlock
from astrid_hookspecs.sandboxes import ProcessSandbox

SANDBOXES: dict[str, type[ProcessSandbox]] = {"bubblewrap": Bubblewrap, "landlock": Landlock}


@functools.cache
def reason_against(name: str) -> str | None:
    """Why a sandbox does not work here, None when it does."""
    return SANDBOXES[name]().unavailable_reason()


def sandbox_or_skip(name: str = "bubblewrap") -> ProcessSandbox:
    """A sandbox; skips the test where it does not work."""
    reason = reason_against(name)
    if reason is not None and not (name == "bubblewrap" and os.environ.get("CI")):
        pytest.skip(f"{name} does not work here: {reason}")
    return SANDBOXES[name]()
